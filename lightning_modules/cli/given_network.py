"""What commands check alike of a network that they are given as CHECKPOINT_OR_MODEL."""

from lightning_modules.create_network import check_model_name
from ops import ArgumentError

GIVEN = "CHECKPOINT_OR_MODEL"


def timm_name(given: str, others: str = "") -> str:
    """Return what was given, if timm can create a network of that name.

    Args:
        given: What was given.
        others: What else it could be, which ends the error's sentence.

    Raises:
        ArgumentError: There is no such network; names those that are alike.
    """
    try:
        return check_model_name(given)
    except ArgumentError as error:
        raise ArgumentError(GIVEN, sentence=str(error).removeprefix("model.model: ") + others) from error


def check_not_pretrained(pretrained: bool) -> None:
    """Raise if timm's weights are asked for where there is a checkpoint."""
    if pretrained:
        raise ArgumentError("--pretrained", sentence="has no meaning for a checkpoint, which has weights; leave it out")
