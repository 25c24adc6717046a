"""Compares an ONNX graph with the network that it was made of, in ONNX Runtime."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

BATCHES = (1, 3, 8)
ALLOWED_DIFFERENCE = 1e-4
"""Between outputs, relative to the largest output."""


@dataclass(frozen=True)
class Difference:
    """The largest difference for images of one size.

    Args:
        batch: Images.
        size: Their height and width.
        relative: The difference divided by the largest output.
        error: What ONNX Runtime says, if it cannot run the graph.
    """

    batch: int
    size: tuple[int, int]
    relative: float
    error: str = ""

    @property
    def allowed(self) -> bool:
        """Whether it is small enough."""
        return not self.error and self.relative <= ALLOWED_DIFFERENCE

    def __str__(self) -> str:
        what = self.error or f"outputs differ by {self.relative:.1e} of the largest"
        return f"at batch {self.batch} and {self.size[0]}x{self.size[1]} pixels {what}"


def outputs_of(result) -> dict[str, Tensor]:
    """Return a network's outputs by name: a tensor, a dict of them, or several."""
    if isinstance(result, Tensor):
        return {"logits": result}
    if isinstance(result, Mapping):
        return {str(name): value for name, value in result.items()}
    return {f"output{i}": value for i, value in enumerate(result)}


def images_of(batch: int, channels: int, size: Sequence[int]) -> Tensor:
    """Return images that are the same in every run."""
    generator = torch.Generator().manual_seed(sum((batch, *size)))
    return torch.randn(batch, channels, *size, generator=generator)


def compare(
    graph: bytes, network: nn.Module, channels: int, sizes: Sequence[tuple[int, int]], batches: Sequence[int] = BATCHES
) -> Iterator[Difference]:
    """Yield the difference for each batch and size, until one is too large."""
    try:
        session = _session(graph)
    except Exception as error:  # ONNX Runtime's own, of no common type
        yield Difference(batches[0], sizes[0], float("inf"), _refusal(error))
        return
    for size in sizes:
        for batch in batches:
            images = images_of(batch, channels, size)
            with torch.no_grad():
                wanted = list(outputs_of(network(images)).values())
            try:
                found = session.run(None, {session.get_inputs()[0].name: images.numpy()})
            except Exception as error:  # likewise
                yield Difference(batch, size, float("inf"), _refusal(error))
                return
            difference = Difference(batch, size, max(map(_relative, found, wanted)))
            yield difference
            if not difference.allowed:
                return


def _refusal(error: Exception) -> str:
    return f"ONNX Runtime cannot run the graph: {' '.join(str(error).split())[:300]}"


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it refuses is raised as well
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _relative(found: np.ndarray, wanted: Tensor) -> float:
    if found.shape != tuple(wanted.shape):
        return float("inf")
    wanted = wanted.float().numpy()
    if not np.isfinite(found).all() or not np.isfinite(wanted).all():
        return 0.0 if np.array_equal(found, wanted, equal_nan=True) else float("inf")
    return float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-30))


def first_that_differs(
    graph: bytes, network: nn.Module, channels: int, at: Difference, outputs: Mapping[str, str]
) -> str | None:
    """Return the first layer whose output differs, by running both with all of them in view; None if none is found.

    Args:
        graph: The graph.
        network: The network.
        channels: Channels of the images.
        at: Where the outputs differ.
        outputs: By layer, the name of the value that it puts out.
    """
    images, seen, order = images_of(at.batch, channels, at.size), {}, []
    hooks = []
    for path, module in network.named_modules():
        if path in outputs:

            def keep(_module, _inputs, output, path=path):
                if isinstance(output, Tensor):
                    seen[path] = output.detach()
                    order.append(path)

            hooks.append(module.register_forward_hook(keep))
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    model = onnx.load_from_string(graph)
    names = {value for node in model.graph.node for value in node.output}
    watched = [path for path in dict.fromkeys(order) if outputs[path] in names]
    present = {value.name for value in model.graph.output}
    for name in dict.fromkeys(outputs[path] for path in watched):
        if name not in present:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    try:
        session = _session(model.SerializeToString())
        found = session.run([outputs[path] for path in watched], {session.get_inputs()[0].name: images.numpy()})
    except Exception:  # the graph that is watched cannot be run either
        return None
    for path, value in zip(watched, found):
        if _relative(value, seen[path]) > ALLOWED_DIFFERENCE:
            return path
    return None
