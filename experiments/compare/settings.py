"""The settings of runs: which are compared, and how groups of runs differ in them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.compare.run import Run

PLACES = (
    "seed_everything", "name", "runs", "ckpt_path", "root", "import", "download", "predict_folder",
    "trainer.default_root_dir", "trainer.logger", "trainer.enable_progress_bar",
)  # fmt: skip
"""Settings that say where a run was and what it showed rather than how it was trained."""

FOLLOWING = (
    "parameters", "macs", "attention", "num_kernels", "temperature", "temperature_end", "where", "backend",
)  # fmt: skip
"""What is logged beside the settings, and follows from them."""

INSIDE = ("", "dynamic.", "model_kwargs.", "selective.", "optimizer.", "schedule.", "trainer.")
"""Where a key is looked for when it is not given in full."""

NONE = "-"


def compared(run: Run) -> dict[str, Any]:
    """Return the settings by which runs are compared."""
    left_out = {*PLACES, *FOLLOWING}
    kept = {key: value for key, value in run.settings.items() if key not in left_out and not key.startswith("wandb")}
    return {key: value for key, value in kept.items() if not key.startswith("trainer.logger")}


def setting(run: Run, key: str) -> Any:
    """Return a setting by its key, which may be that of the command line, or its last part; None where it is unset."""
    for prefix in ("", "model.", "data."):
        short = key.removeprefix(prefix)
        for inside in INSIDE:
            if inside + short in run.settings:
                return run.settings[inside + short]
    return None


def shown(value: Any) -> str:
    """Return a setting as text."""
    if value is None:
        return NONE
    return f"{value:g}" if isinstance(value, float) else str(value)


def mixed(groups: Sequence[Sequence[Run]]) -> list[str]:
    """Return the settings that differ within a group: none unless the runs were grouped by one setting."""
    found: set[str] = set()
    for group in groups:
        settings = [compared(run) for run in group]
        keys = {key for each in settings for key in each}
        found |= {key for key in keys if len({shown(each.get(key)) for each in settings}) > 1}
    return sorted(found)


def differences(groups: Sequence[Sequence[Run]]) -> dict[str, list[str]]:
    """Return the settings that differ between groups: by key, the text of each group's value.

    Settings that some groups lack, and that are the same in all others, are one entry for the whole part that is
    missing, such as ``dynamic``. Values that differ within a group stand side by side.
    """
    settings = [[compared(run) for run in group] for group in groups]
    keys = dict.fromkeys(key for group in settings for each in group for key in each)
    values = {key: [_inside(each.get(key) for each in group) for group in settings] for key in keys}
    differing = {key: found for key, found in values.items() if len(set(found)) > 1}
    result: dict[str, list[str]] = {}
    for key in sorted(differing):
        found = differing[key]
        part = _missing_part(key, values, found)
        if part is None:
            result[key] = found
            continue
        row = result.setdefault(part, [NONE] * len(groups))
        leaf = key.removeprefix(part).lstrip(".")
        for index, text in enumerate(found):
            if text != NONE:
                pair = f"{leaf}={text}" if leaf else text
                row[index] = pair if row[index] == NONE else f"{row[index]} {pair}"
    return result


def _inside(values: Iterable[Any]) -> str:
    return " | ".join(dict.fromkeys(shown(value) for value in values))


def _missing_part(key: str, values: Mapping[str, Sequence[str]], found: Sequence[str]) -> str | None:
    """Return the part that a setting is in, if some groups have nothing of it, and all others the same value."""
    part, _, leaf = key.rpartition(".")
    if not part or not leaf or NONE not in found or len(set(found)) > 2:
        return None
    lacking = {index for index, text in enumerate(found) if text == NONE}
    inside = [each for other, each in values.items() if other == part or other.startswith(f"{part}.")]
    return part if all(each[index] == NONE for each in inside for index in lacking) else None
