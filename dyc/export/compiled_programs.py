"""A network as a library of machine code, compiled ahead of time by AOTInductor; PyTorch runs it without this package.

The library suits the kind of processor that it was compiled on, and the version of PyTorch.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from dyc.export.programs import SUFFIX, Program, check_arguments, exported, write
from ops import ArgumentError, constant_attributes


def save_aoti(
    network: nn.Module,
    path: str | Path,
    *,
    image: tuple[int, int, int],
    preparation: Mapping[str, Any] | None = None,
) -> Program:
    """Compile a network with AOTInductor; ``torch._inductor.aoti_load_package(PATH)`` loads it as a function.

    The function takes images of any memory format. It checks neither their type nor their channels, unless the
    environment variable ``AOTI_RUNTIME_CHECK_INPUTS`` is 1.

    Args:
        network: The network on the CPU, from images ``(B, C, H, W)`` to a tensor. It is compiled as it evaluates.
        path: The file, whose name ends with ``.pt2``.
        image: Size ``(C, H, W)`` of one image in pixels.
        preparation: How images are prepared, kept in the file's metadata as ``dyc.preparation`` in JSON.

    Returns:
        What the program takes, and how far its outputs are from the network's.

    Raises:
        ArgumentError: As :func:`dyc.export.programs.save_pt2`; or the network is not on the CPU, or there is no C++
            compiler.
    """
    path = check_arguments(network, path, image)
    devices = {str(weight.device) for weight in network.parameters()} - {"cpu"}
    if devices:
        raise ArgumentError("network", f"one on {', '.join(sorted(devices))}", "one on cpu")
    _check_compiler()
    options: dict[str, Any] = {"aot_inductor.check_lowerbound": False}  # of 2, as two images are traced
    if preparation is not None:
        options["aot_inductor.metadata"] = {"dyc.preparation": json.dumps(dict(preparation))}
    with TemporaryDirectory() as folder, torch.no_grad(), constant_attributes():
        package = Path(folder) / f"network{SUFFIX}"

        def build(program: ExportedProgram) -> Callable[[Tensor], Tensor]:
            _compile(program, package, options)
            return torch._inductor.aoti_load_package(str(package))

        written = exported(network, image, build, _in_any_layout)
        write(path, package.read_bytes())
    return written


def _compile(program: ExportedProgram, package: Path, options: dict[str, Any]) -> None:
    """Compile a program; what it is made of, all weights among it, is not left in the cache of compiled code."""
    from torch._inductor import aoti_compile_and_package  # takes seconds to import
    from torch._inductor.utils import fresh_cache

    failure = None
    with fresh_cache(dir=str(package.parent)):
        try:
            aoti_compile_and_package(program, package_path=str(package), inductor_configs=dict(options))
        except Exception as error:  # raised below, as the cache would say that it is kept, which it is not
            failure = error
    if failure is not None:
        raise failure


class _InOneLayout(nn.Module):
    """A network that copies its images first, so that all that follows is compiled for one memory format."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.clone(memory_format=torch.contiguous_format))


def _in_any_layout(network: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
    """Return what to trace for images in any memory format.

    Compiled code reads images with the strides of those that were traced. Those returned here lie in memory as no usual
    ones do, so that their strides are symbols.
    """
    batch, channels, height, width = images.shape
    apart = images.new_zeros(batch, channels + 1, height + 1, 7 * width + 3)
    spread = apart[:, :channels, :height, : 7 * width : 7]
    spread.copy_(images)
    return _InOneLayout(network), spread


def _check_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        need = "a C++ compiler, such as g++ (the variable CXX names another); the format pt2 needs none"
        raise ArgumentError("aoti", "no C++ compiler", need) from error
