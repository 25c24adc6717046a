"""Why timm could not create a network, in terms of the arguments that the user gave."""

from typing import Any

from safetensors import SafetensorError

from ops import ArgumentError


def refused(name: str, model_kwargs: dict[str, Any], pretrained: bool, error: Exception) -> Exception:
    """Return the error to raise for what creating a network raised; the same one where no argument explains it."""
    if ":" in name and isinstance(
        error, OSError | RuntimeError | ValueError | SafetensorError
    ):  # hf-hub:OWNER/NAME, local-dir:PATH
        return ArgumentError("model.model", f"{name!r} ({_reason(error)})", "a network that can be fetched")
    path = model_kwargs.get("checkpoint_path")
    if path and (isinstance(error, OSError | SafetensorError) or "weights_only=True blocked" in str(error)):
        return ArgumentError("model.model_kwargs.checkpoint_path", f"{path!r} ({_reason(error)})", "a file of weights")
    if path and isinstance(error, RuntimeError) and "loading state_dict" in str(error):
        first = next((line.strip() for line in str(error).splitlines()[1:] if line.strip()), _reason(error))
        need = f"weights of {name}"
        if "size mismatch" in first:
            need += " with as many classes; model.pretrained true adapts the classifier, this does not"
        return ArgumentError("model.model_kwargs.checkpoint_path", f"{str(path)!r} ({first})", need)
    if pretrained and isinstance(error, OSError | RuntimeError | ValueError):
        need = f"weights of {name} that can be fetched: check the network connection, or leave it false"
        return ArgumentError("model.pretrained", f"True ({_reason(error)})", need)
    if model_kwargs and isinstance(error, AssertionError | RuntimeError | ValueError):
        return ArgumentError("model.model_kwargs", model_kwargs, f"arguments that {name} takes ({_reason(error)})")
    return error


def _reason(error: BaseException) -> str:
    """Return the first line of the error, and of what caused it if that says more, such as a failed connection."""
    lines = [next(iter(str(e).splitlines()), "") or type(e).__name__ for e in (error, error.__cause__) if e is not None]
    return ": ".join(dict.fromkeys(lines))
