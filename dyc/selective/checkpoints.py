"""Weights of a static network, loaded into its form with selective channels."""

from torch import Tensor, nn

from dyc.selective.rewire_network import iter_selective


def checkpoint_filter_fn(state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return the state of a static network as that of its selective form, in which norms have moved into the layers.

    timm calls it where it loads weights into a registered network; for ``timm.models.load_checkpoint`` it is the
    argument ``filter_fn``. Masks, pointers and shifts, which no static network has, keep what ``model`` has.

    Args:
        state_dict: State of either form; that of the selective one is returned as it is.
        model: The network that it is for; one without selective layers takes everything as it is.
    """
    places, own = {}, set()
    for name, layer in iter_selective(model):
        for part, static in getattr(layer, "static_names", {}).items():
            places[static] = f"{name}.{part}"
        own |= {f"{name}.pointers", f"{name}.conv.mask", f"{name}.shift"}
    if not own or not own.isdisjoint(state_dict):
        return state_dict
    loaded = {key: value for key, value in model.state_dict().items() if key in own}
    for key, value in state_dict.items():
        module, _, tensor = key.rpartition(".")
        loaded[f"{places.get(module, module)}.{tensor}" if module else key] = value
    return loaded
