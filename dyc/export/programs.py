"""A network as a program of PyTorch's own operators, which runs where this package is not installed.

``torch.export`` writes a graph that PyTorch interprets. It takes batches of any size and, where the network does,
images of any size.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from dyc.dynamic_model import check_model
from dyc.export.divisions import store_ceilings
from dyc.meta_device import check_input_size
from dyc.whole_files import written_whole
from ops import ArgumentError

SUFFIX = ".pt2"

BATCHES = (1, 3, 8)
"""Numbers of images with which a program is compared with its network."""

ALLOWED_DIFFERENCE = 1e-4
"""Between outputs of a program and its network, relative to the largest output."""

_STANDARD = ("aten", "prim", "prims")
"""Namespaces of the operators that every PyTorch has."""


@dataclass(frozen=True)
class Program:
    """What was written.

    Args:
        difference: The largest difference of outputs that was seen, relative to the largest output.
        any_size: Whether it takes images of any size; else they have the size that it was made for.
        why_not: Why it does not; empty if it does.
    """

    difference: float
    any_size: bool
    why_not: str = ""

    def __str__(self) -> str:
        sizes = "any height and width" if self.any_size else f"one image size alone ({self.why_not})"
        return f"any batch, {sizes}; outputs differ by {self.difference:.1e} of the largest"


def save_pt2(
    network: nn.Module,
    path: str | Path,
    *,
    image: tuple[int, int, int],
    preparation: Mapping[str, Any] | None = None,
) -> Program:
    """Write a network with ``torch.export``; ``torch.export.load(PATH).module()`` runs it.

    Args:
        network: The network, from images ``(B, C, H, W)`` to a tensor. It is exported as it evaluates.
        path: The file, whose name ends with ``.pt2``.
        image: Size ``(C, H, W)`` of one image in pixels.
        preparation: How images are prepared, kept in the file as the extra file ``dyc.preparation`` in JSON.

    Returns:
        What the program takes, and how far its outputs are from the network's.

    Raises:
        ArgumentError: The network cannot be exported with a batch of any size, its program needs operators of this
            package, or their outputs differ by more than 1e-4 of the largest; or the file cannot be written.
    """
    path = check_arguments(network, path, image)
    said = None if preparation is None else {"dyc.preparation": json.dumps(dict(preparation))}
    file = io.BytesIO()

    def build(program: ExportedProgram) -> Callable[[Tensor], Tensor]:
        file.seek(0)
        file.truncate()
        torch.export.save(program, file, extra_files=said)
        file.seek(0)
        return torch.export.load(file).module()

    with torch.no_grad():
        written = exported(network, image, build)
    write(path, file.getbuffer())
    return written


def write(path: Path, contents: bytes | memoryview) -> None:
    """Write a file whole or not at all.

    Raises:
        ArgumentError: It cannot be written.
    """
    try:
        with written_whole(path) as target:
            target.write(contents)
    except OSError as error:
        got = f"{str(path)!r} ({error.strerror or error})"
        raise ArgumentError("path", got, "a file that can be written, with enough space") from error


def check_arguments(network: nn.Module, path: str | Path, image: tuple[int, int, int]) -> Path:
    """Return the path to write a program to; raise before minutes are spent."""
    check_model(network)
    check_input_size(image)
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ArgumentError("path", repr(str(path)), f"a file name that ends with {SUFFIX}")
    if not path.parent.is_dir():
        raise ArgumentError("path", f"{str(path)!r}, whose folder does not exist", "a file in a folder that exists")
    return path


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Let a network evaluate, and put every module's mode back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def exported(
    network: nn.Module,
    image: tuple[int, int, int],
    build: Callable[[ExportedProgram], Callable[[Tensor], Tensor]],
    traced_as: Callable[[nn.Module, Tensor], tuple[nn.Module, Tensor]] = lambda network, images: (network, images),
) -> Program:
    """Export a network for images of any size if that is right, else of one.

    Args:
        network: The network; it is traced as it evaluates.
        image: Size ``(C, H, W)`` of one image in pixels.
        build: Makes of the traced program what is written, and returns how that is called. It may be called twice;
            the second program counts.
        traced_as: Returns what is traced, and with which images.

    Raises:
        ArgumentError: Neither can be exported with a batch of any size, or outputs differ too much.
    """
    why_not = ""
    with _evaluating(network):
        for any_size in (True, False):
            dims = {0: Dim.AUTO, **({2: Dim.AUTO, 3: Dim.AUTO} if any_size else {})}
            try:
                # Two images: export takes a size of one for a constant.
                traced, images = traced_as(network, _images(network, 2, image))
                program = torch.export.export(traced, (images,), dynamic_shapes=(dims,))
                store_ceilings(program)
                _check_free(program, dims)
                run = program.module()  # which checks strides
                _difference(lambda given, run=run: run(traced_as(network, given)[1]), network, image, any_size)
                _check_operators(program)
                built = build(program)
                _check_free(program, dims)  # compilers fix sizes, too, and what they made must not even be run then
                difference = _difference(built, network, image, any_size)
            except ArgumentError as error:
                if not any_size:
                    raise
                why_not = str(error).partition(": ")[2]
            except Exception as error:  # torch.export, compilers, and the networks that they run raise many types
                if not any_size:
                    sentence = f"cannot be exported for a batch of any size ({_reason(error)})"
                    raise ArgumentError("network", sentence=sentence) from error
                why_not = _reason(error)
            else:
                return Program(difference, any_size, why_not)
    raise AssertionError("the last turn returns or raises")


def _check_free(program: ExportedProgram, dims: dict[int, object]) -> None:
    """Raise if a size that should vary has one value."""
    from torch.fx.experimental.symbolic_shapes import has_static_value  # slow to import; the exporter has done it

    name = program.graph_signature.user_inputs[0]
    node = next(node for node in program.graph.nodes if node.name == name)
    names = {0: "batch", 2: "height", 3: "width"}
    fixed = [names[dim] for dim in dims if has_static_value(node.meta["val"].shape[dim])]
    if fixed:
        raise RuntimeError(f"it fixes the {' and '.join(fixed)}")


def _check_operators(program: ExportedProgram) -> None:
    """Raise unless a program is made of PyTorch's own operators."""
    foreign = set()
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            space = getattr(node.target, "namespace", None)
            if isinstance(node.target, torch._ops.OpOverload) and space not in _STANDARD:
                foreign.add(str(node.target))
    if foreign:
        got = f"a network whose program needs {', '.join(sorted(foreign))}"
        raise ArgumentError("network", got, "one of PyTorch's own operators; dyc.set_backend(network, 'auto')")


def _images(network: nn.Module, batch: int, image: tuple[int, int, int]) -> Tensor:
    """Return random images, in the type, on the device and in the memory format of the network's weights."""
    weights = list(network.parameters())
    like = next((weight for weight in weights if weight.is_floating_point()), torch.empty(0))
    kernels = [weight for weight in weights if weight.dim() == 4 and not weight.is_contiguous()]
    layout = torch.channels_last if kernels else torch.contiguous_format
    # Their own generator: nothing that is drawn later should depend on an export.
    generator = torch.Generator().manual_seed(batch)
    images = torch.randn(batch, *image, generator=generator).to(like.device, like.dtype)
    return images.contiguous(memory_format=layout)


def _difference(
    program: Callable[[Tensor], Tensor], network: nn.Module, image: tuple[int, int, int], any_size: bool
) -> float:
    """Return how far the outputs of a program are from the network's, relative to the largest.

    Raises:
        ArgumentError: Too far.
    """
    channels, height, width = image
    cases = [(batch, image) for batch in BATCHES]
    if any_size:
        cases.append((2, (channels, height + height // 4, width + 3 * width // 4)))
    largest = 0.0
    for batch, size in cases:
        for layout in (torch.contiguous_format, torch.channels_last):
            images = _images(network, batch, size).contiguous(memory_format=layout)
            want, got = network(images), program(images)
            if not isinstance(want, Tensor):
                raise ArgumentError("network", f"one that returns a {type(want).__name__}", "one that returns a tensor")
            difference = float((got - want).abs().max() / want.abs().max().clamp_min(torch.finfo(want.dtype).tiny))
            if not difference <= max(ALLOWED_DIFFERENCE, 4 * torch.finfo(want.dtype).eps):
                where = f"for {batch} images of {' x '.join(map(str, size))}"
                sentence = f"its program differs by {difference:.1e} of the largest output {where}"
                raise ArgumentError("network", sentence=sentence)
            largest = max(largest, difference)
    return largest


def _reason(error: BaseException) -> str:
    """Return the first line of an error that says something."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)
