"""The format ``onnx``: a graph that ONNX Runtime, OpenVINO, TensorRT and others run."""

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from dyc.dynamic_model import check_model
from dyc.export.formats import Format, Request, register_format
from dyc.meta_device import check_input_size
from ops import ArgumentError, positive_int

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
SUFFIX = ".onnx"

FORMS, ATTENTION = "dyc.forms", "dyc.attention"
"""Metadata properties: the form of each dynamic layer, and the paths of the modules that predict weights of kernels."""


@dataclass(frozen=True)
class LayerForm:
    """The form of one dynamic layer.

    Args:
        layer: Its name.
        kind: What mixes its kernels, and its kernel's size.
        form: ``"kernels"`` or ``"features"``.
        why: Why it has that form.
    """

    layer: str
    kind: str
    form: str
    why: str


@dataclass
class ExportReport:
    """What was exported.

    Args:
        path: The file.
        nodes: Nodes of the graph.
        layers: The form of each dynamic layer.
        differences: By batch and size, the largest difference from PyTorch, relative to the largest output.
        any_size: Whether it takes images of any height and width; else only those of ``input_size``.
        seconds: CPU time.
    """

    path: Path
    nodes: int
    layers: list[LayerForm]
    differences: dict[tuple[int, tuple[int, int]], float] = field(default_factory=dict)
    any_size: bool = True
    seconds: float = 0.0

    @property
    def difference(self) -> float:
        """The largest difference."""
        return max(self.differences.values())

    def __str__(self) -> str:
        sizes = "any height and width" if self.any_size else "images of one size alone, as the network takes no other"
        tried = f"outputs differ by at most {self.difference:.1e} of the largest, in {len(self.differences)} trials"
        return f"{self.path}: {self.nodes:,} nodes; any batch, {sizes}; {tried}"


def export_onnx(
    network: nn.Module,
    path: str | Path,
    *,
    input_size: tuple[int, int, int],
    form: str = "auto",
    batch: int = 1,
    preparation: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> ExportReport:
    """Write a network as an ONNX file of standard operators, compared with PyTorch before it is written.

    Batch, height and width are free. Dynamic layers are written in one of two forms:

    * ``"kernels"``: the kernels are mixed for each sample and applied by matrix products; no convolution has a number
      of groups that depends on the batch;
    * ``"features"``: convolutions with constant kernels, whose maps are mixed. Runtimes without computed weights run
      it, and none can take the kernels of one image for those of all.

    The graph's input is ``images``, ``(batch, C, height, width)`` in single precision, its output ``logits``.

    Args:
        network: The network, with dynamic and selective layers or without; it is not changed.
        path: The file, whose name ends with ``.onnx``.
        input_size: ``(C, H, W)`` of one image in pixels, a size that the network takes.
        form: ``"kernels"``, ``"features"``, or ``"auto"`` for what costs less in each layer.
        batch: Images at a time that ``"auto"`` chooses for.
        preparation: How images are prepared, kept in the file as the property ``dyc.preparation`` in JSON.
        progress: Called with what is done next.

    Returns:
        What was exported.

    Raises:
        ArgumentError: A package is missing, the network does not take images of ``input_size`` or cannot be traced, or
            outputs of the file differ by more than 1e-4 of the largest at a batch of 1, 3 or 8.

    Example:
        >>> import tempfile, dyc, torch
        >>> network = torch.nn.Sequential(dyc.DynamicConv2d(3, 4, 3), torch.nn.ReLU())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = export_onnx(network, f"{folder}/network.onnx", input_size=(3, 9, 9), form="features")
        >>> report.difference < 1e-4
        True
    """
    check_packages()
    check_model(network)
    check_input_size(input_size)
    positive_int("batch", batch)
    if Path(path).suffix != SUFFIX:
        raise ArgumentError("path", repr(str(path)), f"a file name that ends with {SUFFIX}")
    from dyc.export.onnx.file import save  # with the packages, which only this needs

    options = {"form": form, "batch": batch, "preparation": preparation, "progress": progress}
    return save(network, Path(path), input_size=tuple(input_size), **options)


@dataclass(frozen=True)
class Int8Report:
    """What was quantised.

    Args:
        path: The file.
        quantised: Convolutions and linear layers with 8-bit weights; each kernel of a dynamic layer is one.
        kept: Those with weights that stay in single precision: of attention branches.
        images: Images that the ranges of activations were taken from.
        bytes: Size of the file.
        float_bytes: Size of the file in single precision.
    """

    path: Path
    quantised: int
    kept: int
    images: int
    bytes: int
    float_bytes: int

    def __str__(self) -> str:
        layers = f"{self.quantised} convolutions in 8 bits by {self.images} images, {self.kept} in float32 (attention)"
        share = self.bytes / self.float_bytes
        return f"{self.path}: {layers}; {self.bytes:,} bytes, {share:.2f} of {self.float_bytes:,} in float32"


def quantize_onnx(source: str | Path, path: str | Path, batches: Iterable[Any]) -> Int8Report:
    """Write an ONNX file of :func:`export_onnx` in 8-bit integers, by ONNX Runtime's static quantisation.

    Convolutions and the classifier get integer weights, symmetric, with a scale for each output channel. Of dynamic
    layers, those are quantised whose kernels are constants (the form ``"features"``). The attention, and what mixes
    kernels or maps, stay in single precision. Weights use seven of the eight bits, so that no product overflows on
    processors without VNNI. The range of an activation is the median, over the batches, of its extremes.

    Args:
        source: The file in single precision.
        path: The file to write.
        batches: NumPy arrays ``(B, C, H, W)``, prepared as the network wants them: some hundred images, 16 at a time.

    Returns:
        What was quantised.

    Raises:
        ArgumentError: A package is missing, there are no images, or :func:`export_onnx` has not written the source.
    """
    check_packages()
    from dyc.export.onnx.int8 import quantize  # with the packages, which only this needs

    return quantize(Path(source), Path(path), batches)


def check_packages() -> None:
    """Raise ArgumentError unless the packages of the extra are installed."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        sentence = f"onnx needs {' and '.join(missing)}; install with: pip install 'dyc[export]'"
        raise ArgumentError("--format", sentence=sentence)


def _save(request: Request) -> ExportReport:
    options = {"form": request.form, "batch": request.batch, "preparation": request.preparation}
    return export_onnx(
        request.network, request.path, input_size=request.input_size, progress=request.progress, **options
    )


register_format("onnx", Format(_save, SUFFIX, "a graph for ONNX Runtime, OpenVINO, TensorRT and others"))
