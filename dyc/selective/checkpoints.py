"""Weights of a static network, loaded into its form with selective channels."""

from torch import Tensor, nn

from dyc.selective.rewire_network import iter_selective


def checkpoint_filter_fn(state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return the state of a static network as that of its selective form, in which norms have moved into the layers.

    timm calls it where it loads weights into a registered network, and ``load_state_dict`` of every selective network
    does; for ``timm.models.load_checkpoint`` it is the argument ``filter_fn``. Masks, pointers and shifts, which no
    static network has, keep what ``model`` has. Dynamic layers need no filter: they take static weights themselves.

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


def take_static_checkpoints(model: nn.Module) -> None:
    """Let ``model.load_state_dict`` take the state of the static network too; see :func:`checkpoint_filter_fn`."""
    if not any(hook.hook is _from_static for hook in model._load_state_dict_pre_hooks.values()):
        model.register_load_state_dict_pre_hook(_from_static)


def _from_static(model: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_) -> None:
    given = {key[len(prefix) :]: value for key, value in state_dict.items() if key.startswith(prefix)}
    loaded = checkpoint_filter_fn(given, model)
    if loaded is not given:
        for key in given:
            del state_dict[prefix + key]
        state_dict.update({prefix + key: value for key, value in loaded.items()})
