"""A network as a folder that timm and the Hugging Face Hub read: its configuration, weights and model card."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.constants import DEFAULT_CROP_PCT
from timm.models._hub import save_config_for_hf
from torch import Tensor, nn

from dyc import converted
from dyc.conversion.history import kept_conversions
from dyc.counting.profile import profile
from dyc.dynamic_model import check_model, iter_dynamic
from dyc.export.model_card import CLASSIFICATION, SEGMENTATION, ModelCard, card_text
from dyc.export.segmentation import segmentation_config
from dyc.segmentation import SegmentationNetwork
from dyc.selective.rewire_network import iter_selective
from dyc.weights_file import WEIGHTS
from dyc.whole_files import folder_written_whole
from ops import ArgumentError

CONFIG, CARD = "config.json", "README.md"

ALLOWED_DIFFERENCE = 1e-4
"""Of the outputs of what was saved and what is loaded, relative to the largest: they differ only in backends."""


def save_weights(
    model: nn.Module,
    folder: str | Path,
    *,
    preparation: Mapping[str, Any] | None = None,
    card: ModelCard = ModelCard(),  # noqa: B008  (frozen)
) -> float:
    """Write a network as ``timm.create_model("local-dir:FOLDER", pretrained=True)`` reads it, and read it again.

    The folder has ``config.json``, ``model.safetensors`` and ``README.md``, a model card, and can be uploaded to the
    Hugging Face Hub as it is. Networks of timm and of this package are created by their own names. One that was made
    dynamic, selective or compact is created as ``dyc_converted``, and one that classifies every pixel as
    ``dyc_segmentation``, which ``import dyc`` registers. No file runs code when it is read. The folder is written whole
    or not at all.

    Args:
        model: A network that ``timm.create_model`` or :func:`dyc.segmentation.create_segmentation` made, whatever dyc
            made of it then; it is not changed.
        folder: The folder, which does not exist or is empty.
        preparation: How images are prepared: ``input_size`` ``[C, H, W]``, ``mean``, ``std``, ``interpolation``,
            ``crop_pct``, ``crop_mode`` and ``class_names``; what is left out or None is what timm says of the network.
            A ``crop_pct`` that is given as None means 0.875. For a network that classifies every pixel, also
            ``palette`` and ``resize``, which it then has in its attribute ``preparation``.
        card: What the model card says about data, training, results and licence.

    Returns:
        The largest difference of the outputs of the network that was read again, relative to the largest output.

    Raises:
        ArgumentError: The folder is not empty or cannot be written, or nothing can build the network by its name.

    Example:
        >>> import tempfile, dyc, timm
        >>> model = dyc.make_dynamic(timm.create_model("test_resnet", num_classes=10), "dyc", where="blocks")
        >>> folder = f"{tempfile.mkdtemp()}/saved"
        >>> save_weights(model, folder)
        0.0
        >>> timm.create_model(f"local-dir:{folder}", pretrained=True).num_classes
        10
    """
    from safetensors import SafetensorError  # timm needs it, too
    from safetensors.torch import save_file

    folder = _new_folder(folder)
    describe = _segmentation(model) if isinstance(model, SegmentationNetwork) else _classification(model)
    try:
        with folder_written_whole(folder) as unfinished:
            # One copy of each tensor: the format takes neither other strides nor shared storage.
            tensors = {
                name: value.detach().to("cpu", copy=True).contiguous() for name, value in model.state_dict().items()
            }
            save_file(tensors, unfinished / WEIGHTS, metadata={"format": "pt"})
            config = describe(unfinished / CONFIG, preparation or {})
            (unfinished / CARD).write_text(_card(model, config, card), encoding="utf-8")
            (unfinished / WEIGHTS).chmod((unfinished / CARD).stat().st_mode)  # safetensors hides it from other users
            return _checked(model, tensors, unfinished, config["pretrained_cfg"]["input_size"])
    except (OSError, SafetensorError) as error:  # safetensors raises its own type where the disk is full
        got = f"{str(folder)!r} ({getattr(error, 'strerror', None) or error})"
        raise ArgumentError("folder", got, "a folder that can be written, with enough space") from error


def _new_folder(folder: str | Path) -> Path:
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ArgumentError("folder", f"{str(folder)!r}, which is a file", "a folder that does not exist yet")
    if folder.is_dir() and any(folder.iterdir()):
        raise ArgumentError("folder", f"{str(folder)!r}, which is not empty", "a folder that does not exist yet")
    return folder


def _segmentation(model: SegmentationNetwork) -> Callable[[Path, Mapping[str, Any]], dict[str, Any]]:
    """Return what writes the configuration of a network that classifies every pixel, and returns it."""

    def write(path: Path, preparation: Mapping[str, Any]) -> dict[str, Any]:
        config = segmentation_config(model, preparation)
        path.write_text(json.dumps(config, indent=2), encoding="utf-8")
        return config

    return write


def _classification(model: nn.Module) -> Callable[[Path, Mapping[str, Any]], dict[str, Any]]:
    """Return what writes the configuration of a classifier, and returns it."""
    architecture, arguments = _source(model)
    return lambda path, preparation: _save_config(model, path, architecture, arguments, preparation)


def _source(model: nn.Module) -> tuple[str, dict[str, Any]]:
    """Return the name that timm creates the network by, and arguments beside those that it has noted itself."""
    check_model(model)
    architecture = (getattr(model, "pretrained_cfg", None) or {}).get("architecture")
    if not architecture or not hasattr(model, "num_classes") or not hasattr(model, "num_features"):
        need = "a whole network that timm.create_model made, so that timm can make it again"
        raise ArgumentError("model", f"a {type(model).__name__} that no name stands for", need)
    steps = kept_conversions(model)
    if not steps:
        return architecture, {}
    base = architecture
    if architecture == converted.NAME:  # it was read from a folder, and converted further
        known = model._model_args
        base, steps = known["base"], [*known["conversions"]["steps"], *steps]
    return converted.NAME, {"base": base, "conversions": converted.description_of(steps)}


def _save_config(
    model: nn.Module, path: Path, architecture: str, arguments: dict[str, Any], preparation: Mapping[str, Any]
) -> dict[str, Any]:
    names = preparation.get("class_names")
    if names is not None and len(names) != model.num_classes:
        need = f"{model.num_classes}, the classes of the network"
        raise ArgumentError("preparation", f"{len(names)} class_names", need)
    data = {name: preparation[name] for name in ("mean", "std", "interpolation", "crop_mode") if preparation.get(name)}
    if preparation.get("input_size"):
        data["input_size"] = tuple(preparation["input_size"])
    if "crop_pct" in preparation:
        data["crop_pct"] = preparation["crop_pct"] or DEFAULT_CROP_PCT
    settings = {"architecture": architecture, **({"label_names": list(names)} if names else {})}
    try:
        save_config_for_hf(model, str(path), model_config=settings, model_args=arguments, data_config=data)
    except ValueError as error:  # of an argument that is a function, or of images that the network does not take
        raise ArgumentError("model", sentence=f"cannot be described ({error})") from error
    return json.loads(path.read_text(encoding="utf-8"))


def _card(model: nn.Module, config: dict[str, Any], card: ModelCard) -> str:
    size = tuple(config["pretrained_cfg"]["input_size"])
    architecture, arguments = config["architecture"], config.get("model_args", {})
    facts, tags, task = {"architecture": arguments.get("base", architecture)}, [], CLASSIFICATION
    if isinstance(model, SegmentationNetwork):
        facts = {"backbone": arguments["backbone"], "head": arguments["head"]}
        facts |= {"output stride": f"{arguments['output_stride']}", "outputs": "logits of each pixel"}
        task = SEGMENTATION
    if dynamic := len(list(iter_dynamic(model))):
        facts["dynamic convolutions"] = f"{dynamic}"
        tags += ["dyc", "dynamic-convolution"]
    if selective := len(list(iter_selective(model))):
        facts["selective convolutions"] = f"{selective}"
        tags += ["dyc", "selectconv"]
    steps = arguments.get("conversions", {}).get("steps", [])
    if any(step["kind"] == "compact" for step in steps):
        facts["compact"] = "its closed channels are removed"
        tags += ["dyc", "selectconv"]
    facts["parameters"] = f"{sum(parameter.numel() for parameter in model.parameters()):,}"
    try:
        facts["multiply-accumulates (MACs)"] = f"{profile(model, size).macs:,}"
    except NotImplementedError as error:  # some operators cannot be run without data
        facts["multiply-accumulates (MACs)"] = f"not counted ({next(iter(str(error).splitlines()), '')})"
    facts["images"] = " x ".join(map(str, size))
    facts["classes"] = f"{model.num_classes}"
    module = timm.model_entrypoint(architecture).__module__
    imports_dyc = not module.startswith("timm.")
    return card_text(card, facts, imports_dyc=imports_dyc, tags=tuple(dict.fromkeys(tags)), task=task)


@torch.no_grad()
def _checked(model: nn.Module, tensors: dict[str, Tensor], folder: Path, size: list[int]) -> float:
    """Read a folder, and return how much the outputs differ."""
    need = "one that its name and arguments build again"
    try:
        loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    except (RuntimeError, TypeError, ArgumentError) as error:
        reason = [line.strip() for line in str(error).splitlines() if line.strip()][:2]
        got = f"a {type(model).__name__} that was changed by hand, or is drawn anew each time ({' '.join(reason)})"
        raise ArgumentError("model", got, need) from error
    state = loaded.state_dict()
    if any(not torch.equal(state[name], value.to(state[name].dtype)) for name, value in tensors.items()):
        raise ArgumentError("model", f"a {type(model).__name__} whose weights change as they are loaded", need)
    original = copy.deepcopy(model).to("cpu", memory_format=torch.contiguous_format).eval()
    dtype = next((value.dtype for value in original.parameters() if value.is_floating_point()), torch.float32)
    images = torch.randn(2, *size, dtype=dtype, generator=torch.Generator().manual_seed(0))
    want, got = original(images), loaded.to(dtype)(images)
    difference = float((got - want).abs().max() / want.abs().max().clamp_min(torch.finfo(dtype).tiny))
    if not difference <= max(ALLOWED_DIFFERENCE, 4 * torch.finfo(dtype).eps):
        was = f"a {type(model).__name__} whose outputs differ by {difference:.1e} of the largest when it is built again"
        raise ArgumentError("model", was, need)
    return difference
