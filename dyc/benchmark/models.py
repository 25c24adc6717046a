"""Time whole networks, inference and training steps, beside a baseline.

A network with dynamic convolutions enters once per backend. In inference, if its convolutions are the baseline's, the
floor stands beside it: one pass that does nothing but read the parameters of its attention branches, which no
implementation can do without.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dyc.models  # noqa: F401  (registers the networks)
from dyc.benchmark.operators import LAYOUTS
from dyc.benchmark.timing import measure
from dyc.counting.profile import profile
from dyc.dynamic_model import iter_attention, iter_dynamic, set_backend
from ops import BackendUnavailable

INFERENCE, TRAINING = "inference", "training"
MODES = (INFERENCE, TRAINING)
MODEL_BATCHES = {INFERENCE: (1,), TRAINING: (128,)}
DEFAULT_MODELS = ("mobilenetv2_cifar", "dy_mobilenetv2_cifar", "dyc_mobilenetv2_cifar")
FLOOR = "attention read"


@dataclass(frozen=True)
class ModelCase:
    """What all networks of one comparison have in common; sizes in pixels, ``seconds`` for all of them together."""

    mode: str
    batch: int
    size: int
    layout: str = "channels_last"
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    compiled: bool = False
    cuda_graph: bool = False
    seconds: float = 10.0

    def __str__(self) -> str:
        return f"{self.mode}, batch {self.batch}, {self.size} x {self.size}, {self.layout}"


@dataclass(frozen=True)
class ModelTiming:
    """A network in one case: milliseconds, MiB at the peak, parameters, and ratios to the baseline.

    The peak counts what the network holds between calls (parameters, buffers, momentum, images) and what a call takes
    on top. ``floor_ms`` is the time to read the parameters of the attention, ``attention_parameters`` their number;
    both are 0 for a static network; the time also where it is no floor: in training, and beside another network.
    """

    case: ModelCase
    contestant: str
    median_ms: float
    p20_ms: float
    p80_ms: float
    peak_mib: float
    parameters: int
    attention_parameters: int = 0
    floor_ms: float = 0.0
    ratios: dict[str, float] = field(default_factory=dict)


class _Network:
    """A network on its device with its images, ready to be called."""

    def __init__(self, name: str, backend: str, case: ModelCase):
        memory_format = LAYOUTS[case.layout]
        torch.manual_seed(0)
        self.case = case
        self.model = timm.create_model(name).to(case.device, memory_format=memory_format)
        self.label = f"{name} [{_choose_backend(self.model, backend)}]" if _is_dynamic(self.model) else name
        channels = self.model.default_cfg["input_size"][0]
        x = torch.randn(case.batch, channels, case.size, case.size, device=case.device)
        self.x = x.contiguous(memory_format=memory_format)
        self.attention = [p for branch in iter_attention(self.model) for p in branch.parameters()]
        self.parameters = sum(p.numel() for p in self.model.parameters())
        self.convolutions = profile(self.model, tuple(x.shape[1:])).count("conv")
        self.call = self._training() if case.mode == TRAINING else self._inference()

    def _forward(self, network: Callable[[Tensor], Tensor]) -> Tensor:
        # No cache of casted weights where nothing is trained: CUDA graphs would not keep it alive.
        training = self.case.mode == TRAINING
        on = self.case.dtype != torch.float32
        with torch.autocast(self.case.device, self.case.dtype if on else None, enabled=on, cache_enabled=training):
            return network(self.x)

    def _network(self) -> Callable[[Tensor], Tensor]:
        return torch.compile(self.model) if self.case.compiled else self.model

    def _inference(self) -> Callable[[], object]:
        self.model.eval()
        self.held = _held(self.model, self.x)
        self.plain = torch.no_grad()(partial(self._forward, self._network()))
        return _captured(self.plain) if self.case.cuda_graph else self.plain

    def _training(self) -> Callable[[], object]:
        self.model.train()
        network = self._network()
        labels = torch.randint(self.model.num_classes, (self.case.batch,), device=self.case.device)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
        self.held = _held(self.model, self.x, labels) + 4 * self.parameters  # with the momentum

        def step() -> None:
            F.cross_entropy(self._forward(network).float(), labels).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        self.plain = step
        return step


def _is_dynamic(model: nn.Module) -> bool:
    return next(iter_dynamic(model), None) is not None


def _choose_backend(model: nn.Module, backend: str) -> str:
    """Set the backend of a dynamic network; return its name, with the share of the layers that it fits if not all."""
    setting = set_backend(model, backend)
    count, left = len(setting.layers), len(setting.left)
    return f"{backend}, {count} of {count + left} layers" if left else backend


def _held(model: nn.Module, *tensors: Tensor) -> int:
    return sum(t.nbytes for t in (*model.parameters(), *model.buffers(), *tensors))


def _captured(call: Callable[[], object]) -> Callable[[], object]:
    """Record a call as a CUDA graph and return its replay."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = call()

    def replay() -> Tensor:
        graph.replay()
        return output  # keeps the graph's memory

    return replay


def _read(tensors: Sequence[Tensor]) -> Callable[[], Tensor]:
    """Return a pass over tensors that only reads: the sum of one buffer of their size."""
    return torch.cat([t.detach().flatten() for t in tensors]).sum


def _networks(names: Sequence[str], backends: Sequence[str], case: ModelCase) -> list[_Network]:
    found: dict[str, _Network] = {}
    for name in dict.fromkeys(names):
        unfit: list[BackendUnavailable] = []
        for backend in backends:
            try:
                network = _Network(name, backend, case)
            except BackendUnavailable as error:
                unfit.append(error)
                continue
            found[network.label] = network
            if not network.attention:
                break
        if len(unfit) == len(backends):
            raise unfit[0]
        for error in unfit:
            warnings.warn(f"{name} is left out: {error}", stacklevel=3)
    return list(found.values())


def time_models(
    case: ModelCase, names: Sequence[str] = DEFAULT_MODELS, backends: Sequence[str] = ("auto",)
) -> list[ModelTiming]:
    """Time networks in turns; the first one is the baseline.

    Inference is a call without gradients in evaluation mode. A training step is the forward pass, cross-entropy, the
    backward pass and a step of SGD with momentum on random images. 16-bit types mean autocast.

    Args:
        case: What they have in common.
        names: timm names.
        backends: Backends of the dynamic convolutions; a network that has some enters once for each that fits one of
            its layers, and a warning names those that fit none.

    Returns:
        One timing per contestant; the ratios ``"time"`` and ``"memory"`` are to the baseline. ``"floor"``, for a
        dynamic form of the baseline, is what its time would be if it took the baseline's and the reading of its
        attention's parameters, no more. Memory is always that of a call without a CUDA graph.

    Raises:
        ArgumentError: Unknown backend.
        BackendUnavailable: None of the backends fits a network, or one cannot run it.
    """
    if case.compiled:
        torch.compiler.reset()  # a network is compiled for its own case, not one more time for every case before it
    networks = _networks(names, backends, case)
    calls: dict[str, Callable[[], object]] = {n.label: n.call for n in networks}
    if case.mode == INFERENCE:
        alike = [n for n in networks if n.attention and n.convolutions == networks[0].convolutions]
        calls |= {f"{FLOOR} {n.label}": _read(n.attention) for n in alike}
    plain = {n.label: n.plain for n in networks}
    found = measure(calls, device=case.device, seconds=case.seconds, in_memory=plain)
    base = found[networks[0].label]
    timings = []
    for n in networks:
        m, floor = found[n.label], found.get(f"{FLOOR} {n.label}")
        peak, base_peak = m.peak_bytes + n.held, base.peak_bytes + networks[0].held
        ratios = {"time": m.median_ms / base.median_ms, "memory": peak / base_peak}
        if floor:
            ratios["floor"] = 1 + floor.median_ms / base.median_ms
        timings.append(
            ModelTiming(
                case,
                n.label,
                m.median_ms,
                m.p20_ms,
                m.p80_ms,
                peak / 2**20,
                n.parameters,
                sum(p.numel() for p in n.attention),
                floor.median_ms if floor else 0.0,
                ratios,
            )
        )
    return timings
