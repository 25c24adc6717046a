"""What an evaluation found: as a table, and in a file beside the run that it is about."""

import csv
import io
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dyc.whole_files import written_whole
from lightning_modules.cli.tables import Table
from lightning_modules.disk import append_whole
from lightning_modules.network_source import title_of
from lightning_modules.runs import CHECKPOINTS
from lightning_modules.tasks import EVALUATION, FIGURES, SHARES
from ops import ArgumentError

COLUMNS = ("time", "split", "data", "images", "image_size", "checkpoint", "epoch")
"""Columns of ``evaluations.csv``, before those of the figures."""

OF_CLASS = "iou/"
"""How the figures of single classes begin."""

CHOSEN_ON_TEST = "Validation used the test split, so report the last epoch: the best was chosen on test images."


def results_table(title: str, results: Mapping[str, Mapping[str, float]]) -> Table:
    """Return a table with one row per network; figures are by their key, such as ``top1``, or ``test/top1``."""
    plain = {label: without_split(row) for label, row in results.items()}
    keys = [key for key in FIGURES if all(key in row for row in plain.values())]
    table = Table(["network", *(FIGURES[key] for key in keys)], 1, title=title)
    for label, row in plain.items():
        table.rows.append([label, *(f"{row[key]:.4f}" if key == "loss" else f"{row[key]:.2%}" for key in keys)])
    return table


def without_split(figures: Mapping[str, float]) -> dict[str, float]:
    """Return figures without the name of the split: ``top1`` for ``test/top1``, as for ``top1`` itself."""
    splits = ("val", "test", "train")
    return {key.partition("/")[2] if key.partition("/")[0] in splits else key: value for key, value in figures.items()}


def classes_table(results: Mapping[str, Mapping[str, float]]) -> Table | None:
    """Return a table of the figures of single classes, one row per class, or None where there are none."""
    plain = {label: without_split(row) for label, row in results.items()}
    classes = dict.fromkeys(key for row in plain.values() for key in row if key.startswith(OF_CLASS))
    if not classes:
        return None
    table = Table(["class", *(f"IoU, {label}" if len(plain) > 1 else "IoU" for label in plain)], 1)
    for key in classes:
        values = [f"{row[key]:.2%}" if key in row else "-" for row in plain.values()]
        table.rows.append([key.removeprefix(OF_CLASS), *values])
    return table


def check_finite(figures: Mapping[str, float], network: str, trainer: Any) -> None:
    """Raise ArgumentError if the loss among the figures of a network is NaN or infinite: its accuracy means nothing."""
    for key, value in figures.items():
        if key.partition("/")[2] == "loss" and not math.isfinite(value):
            reasons = f"its weights, images of this split, or trainer.precision {trainer.precision} are the reason"
            sentence = f"outputs of {network} are not finite ({key} is {float(value):g}); {reasons}"
            raise ArgumentError("ckpt_path", sentence=sentence)


def describe_checkpoint(path: Path, checkpoint: Mapping[str, Any]) -> str:
    """Say which network a checkpoint holds: of which run, epoch and step, and by what it is the best, if it is."""
    name, epoch, step = title_of(checkpoint["hyper_parameters"]), checkpoint["epoch"] + 1, checkpoint["global_step"]
    text = f"{path}: {name} of epoch {epoch}, step {step}"
    for state in _chosen_by(path, checkpoint):
        monitor, score = state["monitor"], float(state["best_model_score"])
        share = monitor.partition("/")[2] in SHARES
        text += f"; the best by {monitor} ({score:.2%})" if share else f"; the best by {monitor}"
    return text


def _chosen_by(path: Path, checkpoint: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the states of the callbacks by which a checkpoint is the best."""
    states = [state for state in checkpoint.get("callbacks", {}).values() if isinstance(state, dict)]
    return [each for each in states if each.get("monitor") and Path(each["best_model_path"]).name == path.name]


def _chosen_on_test(cli: Any, path: Path) -> bool:
    """Tell whether the images of an evaluation are those by which its checkpoint was chosen as the best."""
    trained, data = cli.checkpoint.get("datamodule_hyper_parameters") or {}, cli.datamodule
    same = all(trained.get(name) == data.hparams[name] for name in ("dataset", "root", "val_fraction"))
    return same and data.validates_on_test and bool(_chosen_by(path, cli.checkpoint))


def record_evaluation(checkpoint: Path, facts: Mapping[str, object]) -> str:
    """Add a row to ``evaluations.csv`` of the run that a checkpoint is of; return a line that says where.

    What the table has no column for gets one, which is empty in the rows before.

    Args:
        checkpoint: The checkpoint; the file lies in its run's folder, or beside it if it is in none.
        facts: Values of :data:`COLUMNS`, the time left out, and the figures of the task, after how it evaluates images
            if there are several ways.
    """
    parent = checkpoint.parent
    path = (parent.parent if parent.name == CHECKPOINTS else parent) / "evaluations.csv"
    try:
        text = io.StringIO(newline="")
        before, wanted = _columns(path), ["time", *facts]
        columns = _with(before, wanted) if before else wanted
        writer = csv.DictWriter(text, columns, restval="")
        if not before:
            writer.writeheader()
        elif columns != before:
            _widen(path, before, columns)
        writer.writerow({"time": time.strftime("%Y-%m-%d %H:%M:%S"), **facts})
        append_whole(path, text.getvalue())
    except OSError as error:  # a checkpoint of someone else, say: the figures stand above
        return f"not written to {path} ({error.strerror})"
    return f"written to {path}"


def _columns(path: Path) -> list[str]:
    """Return the columns of a table that may not exist yet."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return next(csv.reader(file), [])


def _with(columns: list[str], wanted: list[str]) -> list[str]:
    """Return columns with those of the wanted ones that they lack, each after the one that it follows there.

    Example:
        >>> _with(["time", "split", "miou"], ["time", "split", "evaluation", "miou"])
        ['time', 'split', 'evaluation', 'miou']
    """
    found, place = list(columns), 0
    for name in wanted:
        if name not in found:
            found.insert(place, name)
        place = found.index(name) + 1
    return found


def _widen(path: Path, before: list[str], columns: list[str]) -> None:
    """Write a table again, whole, with more columns, which are empty in its rows."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    for place, name in enumerate(columns):
        if name not in before:
            for number, row in enumerate(rows):
                row.insert(place, "" if number else name)
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    with written_whole(path) as file:
        file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def report_evaluation(cli: Any, split: str) -> None:
    """Print and record what ``dyc validate`` or ``dyc test`` found; ``cli`` is a finished ``DycCLI``.

    Args:
        cli: The command.
        split: ``val`` or ``test``.
    """
    trainer, data = cli.trainer, cli.datamodule
    figures = without_split({key: float(value) for key, value in trainer.callback_metrics.items()})
    path = Path(cli.config[cli.subcommand]["ckpt_path"])
    check_finite(trainer.callback_metrics, str(path), trainer)
    if not trainer.is_global_zero:
        return
    used, samples = data.evaluated_split(cli.subcommand), len(getattr(data.splits, split))
    (batches,) = trainer.num_val_batches if split == "val" else trainer.num_test_batches
    images = min(samples, batches * data.eval_batch_size * trainer.world_size)
    title = f"{data.dataset_name}: {used} split" + (f", {images:,} of {samples:,} images" if images < samples else "")
    print(f"\n{results_table(title, {cli.model.source.title: figures})}\n")
    if (classes := classes_table({cli.model.source.title: figures})) is not None:
        print(f"{classes}\n")
    if _chosen_on_test(cli, path):
        print(CHOSEN_ON_TEST)
    if trainer.fast_dev_run:
        return
    size = data.image_size if isinstance(data.image_size, int) else " x ".join(map(str, data.image_size or ()))
    values = (used, data.dataset_name, images, size, path, cli.checkpoint["epoch"] + 1)
    how = getattr(cli.model, "evaluation", None)
    found = {} if how is None else {EVALUATION: str(how)}
    found |= {key: figures.get(key, "") for key in cli.task.figures}
    if classes is not None:
        found |= {f"{OF_CLASS}{name}": figures.get(f"{OF_CLASS}{name}", "") for name in cli.model.class_names}
    print(record_evaluation(path, {**dict(zip(COLUMNS[1:], values)), **found}))
