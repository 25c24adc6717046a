"""What a command takes from a checkpoint about the network that it rebuilds."""

from typing import Any

from lightning_modules.conversion_settings import GROUPS, check_same, settings_of
from ops import ArgumentError


def take_conversions(given: Any, trained: dict[str, Any]) -> None:
    """Take what the checkpoint's network was made by, where the command line does not say.

    Args:
        given: Settings of the network by name, as the command line and its configuration files give them; changed.
        trained: Those of the checkpoint.

    Raises:
        ArgumentError: The given ones are for another network than the checkpoint's, or nothing can rebuild that one.
    """
    if trained.get("net") is not None:
        got = f"a checkpoint of a {trained['net']}, which a Python program built"
        need = "a network that has a name; load this one with ImageClassifier.load_from_checkpoint(..., net=...)"
        raise ArgumentError("ckpt_path", got, need)
    for group in GROUPS:
        value = given[group]
        if value is None:
            given[group] = trained.get(group)
            continue
        settings = settings_of(group, value if isinstance(value, str | bool) else vars(value))
        check_same(group, settings, trained.get(group))
