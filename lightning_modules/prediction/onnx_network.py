"""An ONNX file as a network that predicts, run by ONNX Runtime."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lightning_modules.data.preparation import PROPERTY, read_fields
from lightning_modules.errors import ArgumentError, first_line

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxNetwork:
    """Runs batches of images through an ONNX file; where the file has a fixed batch size, the last batch is filled up.

    Args:
        path: The file.
        threads: Threads of an operation; by default ONNX Runtime's choice, one for each core.
        device: ``cpu`` or ``cuda``.

    Raises:
        ArgumentError: ONNX Runtime is missing, cannot read the file or has no such device, or the file holds no
            network that maps a batch of images.
    """

    def __init__(self, path: str, threads: int | None = None, device: str = "cpu"):
        self.path, self.runtime = path, _runtime()
        if not Path(path).is_file():
            raise ArgumentError("model", f"{path!r}, which does not exist", "an ONNX file")
        provider, known = PROVIDERS[device], self.runtime.get_available_providers()
        if provider not in known:
            need = "a version with CUDA, such as the package onnxruntime-gpu, or cpu"
            raise ArgumentError("--device", f"{device}, but onnxruntime has only {', '.join(known)}", need)
        options = self.runtime.SessionOptions()
        options.log_severity_level = 3  # errors only, which are raised as well
        options.intra_op_num_threads = threads or 0
        try:
            self.session = self.runtime.InferenceSession(path, options, [provider])
        except Exception as error:  # several types, all made in C++
            raise ArgumentError("model", f"{path!r} ({first_line(error)})", "an ONNX file") from error
        if provider not in self.session.get_providers():  # it goes on with the CPU where CUDA's libraries are missing
            raise ArgumentError("--device", f"{device}, which onnxruntime cannot use here", "cpu, or CUDA's libraries")
        inputs = self.session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in TYPES:
            shown = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
            raise ArgumentError("model", f"{path!r} with the inputs {shown}", "one input of floats, (B, C, H, W)")
        self.input, self.type = inputs[0].name, TYPES[inputs[0].type]
        self.segments = len(self.session.get_outputs()[0].shape) == 4
        self.batch_size, *self._size = (n if isinstance(n, int) else None for n in inputs[0].shape)

    @cached_property
    def preparation(self) -> Mapping[str, Any]:
        """What the file says about the preparation of images, by field of ``Preparation``."""
        text = self.session.get_modelmeta().custom_metadata_map.get(PROPERTY)
        found = read_fields(text, self.path)
        if None in self._size:
            return found
        return {"input_size": self._size, **found, "resize": True}  # it takes no other size

    def check_size(self, size: tuple[int, int, int]) -> None:
        """Raise ArgumentError unless the network takes images of a size ``(C, H, W)``."""
        if any(fixed not in (None, wanted) for fixed, wanted in zip(self._size, size)):
            shown = ", ".join("any" if fixed is None else str(fixed) for fixed in self._size)
            raise ArgumentError("--input_size", list(size), f"[{shown}], the size that {self.path!r} was made for")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the first output for a batch ``(B, C, H, W)``."""
        missing = (self.batch_size or len(images)) - len(images)
        filled = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else images
        try:
            return self.session.run(None, {self.input: filled.astype(self.type, copy=False)})[0][: len(images)]
        except Exception as error:  # several types, all made in C++
            got = f"{self.path!r}, which failed for a batch {filled.shape} ({first_line(error)})"
            raise ArgumentError("model", got, "a network for such images: see --input_size") from error


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        sentence = "onnxruntime, which runs ONNX files, is not installed: pip install onnxruntime, or 'dyc[export]'"
        raise ArgumentError("model", sentence=sentence) from error
    return onnxruntime
