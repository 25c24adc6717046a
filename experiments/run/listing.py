"""What ``dyc run`` lists: papers with their tables, and a plan with what is done."""

from collections import Counter
from collections.abc import Mapping, Sequence

from experiments.papers import catalog
from experiments.records import Record
from experiments.run.plan import Item
from lightning_modules.cli.jobs.progress import duration
from lightning_modules.cli.tables import Table

RUN = ("train", "count", "latency")
"""The ways that measure something, of those of a figure."""

NOT_MEASURED = "not measured"


def papers_listed(kept: Sequence[Record]) -> str:
    """Return every table of every paper with the number of its rows, of those that can be run, and of those done."""
    recorded = {record.path for record in kept}
    lines = Table(["table", "how", "title", "rows", "runnable", "done"], 3)
    for paper in catalog.papers().values():
        lines.rows += [[paper.name, "", paper.title, "", "", ""]]
        for table in paper.tables.values():
            rows = list(table.rows.values())
            runnable = sum(any(each.how in RUN for each in row.figures.values()) for row in rows)
            done = sum(row.measured_as in recorded for row in rows)
            ways = ", ".join(how for how in table.ways if how in RUN)
            lines.rows.append([f"  {table.path}", ways or "none", table.title, *map(str, (len(rows), runnable, done))])
    return f"{lines}\n\ndone: rows with at least one record; dyc run PAPER/TABLE --dry_run tells more"


def plan_listed(items: Sequence[Item], seconds: Mapping[Item, float | str] | None = None, jobs: int = 1) -> str:
    """Return a plan as a table; with estimates, the time that is left, in all at the end; what quick does to rows.

    Args:
        items: The plan.
        seconds: What is left of each training, or why nobody knows.
        jobs: Trainings that run at once.
    """
    if not items:
        return ""
    seconds = seconds or {}
    lines = Table(["row", "how", "seed", "state", "about"], 4)
    for each in items:
        left = seconds.get(each, "")
        about = left if isinstance(left, str) else duration(left)
        seed = "" if each.seed is None else str(each.seed)
        how = {"train": f"train, {each.protocol}", "none": NOT_MEASURED}.get(each.how, each.how)
        lines.rows.append([each.row.path, how, seed, _state(each), about])
    counts = Counter(NOT_MEASURED if each.status == "none" else each.status for each in items)
    text = f"{lines}\n\n" + ", ".join(f"{number} {status}" for status, number in counts.items())
    known = [value for value in seconds.values() if not isinstance(value, str)]
    if known:
        at_once = f" with {jobs} at once" if jobs > 1 else ""
        text += f"; about {duration(sum(known) / min(jobs, len(known)))} to train in all{at_once}"
    shortened = [each.row.quick.note for each in items if each.how == "train" and each.protocol == "quick"]
    return "\n".join([text, *(f"quick: {note}" for note in dict.fromkeys(filter(None, shortened))), ""])


def _state(item: Item) -> str:
    if item.status == "interrupted":
        return f"interrupted at epoch {item.state.epoch} of {item.training.epochs}"
    if item.status == "none":
        return item.reason
    return f"{item.status}: {item.reason}" if item.reason else item.status
