"""Which of timm's registered models come from this package."""

import timm


def model_names() -> list[str]:
    """Return the names of this package's networks as ``timm.list_models`` sorts them."""
    return [name for name in timm.list_models() if timm.model_entrypoint(name).__module__.startswith("dyc.models.")]
