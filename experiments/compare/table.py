"""The comparison as a table: text, Markdown, CSV."""

import csv
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from dyc.text_table import aligned, markdown
from experiments.compare.groups import Summary
from experiments.compare.settings import NONE
from lightning_modules.disk import new_file
from lightning_modules.tasks import SHARES, TASKS, USUAL


def is_share(metric: str) -> bool:
    """Tell whether a metric is a share of images or pixels, which is shown in percent."""
    return any(part in (*SHARES, "iou") or part.startswith("top") for part in metric.split("/"))


def value_text(metric: str, value: float | None) -> str:
    """Return a metric's value as it is shown."""
    if value is None:
        return NONE
    return f"{value:.2%}" if is_share(metric) else f"{value:.4g}"


def _deviation_text(metric: str, value: float | None) -> str:
    if value is None:
        return NONE
    return f"{100 * value:.2f}" if is_share(metric) else f"{value:.2g}"


def _range_text(values: tuple[int, int] | None, form: str = "{:,}", none: str = NONE) -> str:
    return none if values is None else "-".join(dict.fromkeys(form.format(value) for value in values))


def cells(summaries: Sequence[Summary], metric: str) -> tuple[list[str], list[list[str]]]:
    """Return the titles and the cells of the table; a column of states only where a run is not finished."""
    titles = ["run", metric, "±", "seeds", "parameters", "MACs", "images/s", "best epoch", "last epoch", "state"]
    rows = [
        [
            each.name,
            value_text(metric, each.mean),
            _deviation_text(metric, each.deviation),
            str(each.seeds),
            _range_text(each.parameters),
            _range_text(each.macs),
            NONE if each.images_per_second is None else f"{each.images_per_second:,.0f}",
            _range_text(each.best_epoch),
            _range_text(each.last_epoch),
            each.state,
        ]
        for each in summaries
    ]
    if not any(row[-1] for row in rows):
        return titles[:-1], [row[:-1] for row in rows]
    return titles, rows


LEFT = ("run", "state", "setting")


def explanation(metric: str) -> str:
    """Return the sentences below the table."""
    segmentation = set(metric.split("/")) & {"iou", "miou", "pixel_accuracy"}
    watched = TASKS["segmentation" if segmentation else USUAL].watched
    return (
        f"{metric}: mean and standard deviation of the last value of each seed. images/s: median of the epochs. "
        f"best epoch: that of the highest val/{watched}."
    )


def text_table(summaries: Sequence[Summary], metric: str) -> str:
    """Return the table as text."""
    titles, rows = cells(summaries, metric)
    return aligned(titles, rows, right=[title for title in titles if title not in LEFT])


def difference_cells(names: Sequence[str], found: Mapping[str, Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Return titles and cells of the settings that differ, the names or the settings as rows: whatever is more."""
    by_key, by_run = _both_ways(names, found)
    return by_key if len(found) > len(names) else by_run


def _both_ways(names: Sequence[str], found: Mapping[str, Sequence[str]]) -> list[tuple[list[str], list[list[str]]]]:
    """Return titles and cells with a row for each setting, and with a row for each run."""
    by_key = ["setting", *names], [[key, *values] for key, values in found.items()]
    by_run = ["run", *found], [[name, *values] for name, values in zip(names, zip(*found.values()))]
    return [by_key, by_run]


def text_differences(names: Sequence[str], found: Mapping[str, Sequence[str]]) -> str:
    """Return the settings that differ as text: a row for each run if that fits the terminal, else one for each key."""
    width = shutil.get_terminal_size().columns
    for titles, rows in reversed(_both_ways(names, found)):
        table = aligned(titles, rows)
        if max(map(len, table.splitlines())) <= width:
            return table
    blocks = []
    for key, values in found.items():
        same: dict[str, list[str]] = {}
        for name, value in zip(names, values):
            same.setdefault(value, []).append(name)
        blocks += [key, *(f"  {value}  ({', '.join(having)})" for value, having in same.items())]
    return "\n".join(blocks)


def markdown_page(
    summaries: Sequence[Summary], metric: str, found: Mapping[str, Sequence[str]], notes: Sequence[str]
) -> str:
    """Return everything as Markdown."""
    titles, rows = cells(summaries, metric)
    parts = [markdown(titles, rows, right=[title for title in titles if title not in LEFT]), explanation(metric)]
    if found:
        names = [each.name for each in summaries]
        parts += ["What differs:", markdown(*difference_cells(names, found))]
    return "\n\n".join([*parts, *notes]) + "\n"


def write_csv(
    path: Path, summaries: Sequence[Summary], metric: str, found: Mapping[str, Sequence[str]], prefix: str = ""
) -> None:
    """Write a row for each group: its name behind the prefix, its figures, and the settings that differ.

    Raises:
        ArgumentError: The file exists or cannot be made.
    """
    ranges = ("parameters", "macs", "best_epoch", "last_epoch")
    with new_file("--csv", path, newline="", encoding="utf-8") as file:
        writer = None
        for index, each in enumerate(summaries):
            row = {"run": prefix + each.name, "metric": metric, **{k: v for k, v in vars(each).items() if k != "name"}}
            row |= {name: _range_text(row[name], "{}", none="") for name in ranges}
            row |= {key: values[index] for key, values in found.items()}
            if writer is None:
                writer = csv.DictWriter(file, row, lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
