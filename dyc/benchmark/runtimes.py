"""Time whole networks in the runtimes that run exported files, beside PyTorch: each beside its static form."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

import dyc.models  # noqa: F401  (registers the networks)
from dyc.benchmark.timing import summary, take_turns
from dyc.dynamic_model import iter_dynamic
from dyc.export import export_onnx, quantize_onnx
from ops import ArgumentError, unknown_name

PYTORCH, ONNXRUNTIME, OPENVINO = "pytorch", "onnxruntime", "openvino"
RUNTIMES = (PYTORCH, ONNXRUNTIME, OPENVINO)
FILE_FORMS = ("features", "kernels")
EAGER, STATIC, INT8 = "eager", "static", "int8"
_WARM_UP = 3


@dataclass(frozen=True)
class RuntimeCase:
    """What all contestants of one comparison have in common; ``seconds`` are those of all of them together."""

    batch: int
    size: int
    threads: int
    seconds: float = 10.0

    def __str__(self) -> str:
        return f"batch {self.batch}, {self.size} x {self.size}, {self.threads} thread{'s' * (self.threads > 1)}"


@dataclass(frozen=True)
class RuntimeTiming:
    """Milliseconds of a call in one case; the ratio is to the first network in the same runtime and precision."""

    case: RuntimeCase
    runtime: str
    network: str
    form: str
    median_ms: float
    p20_ms: float
    p80_ms: float
    ratio: float


@dataclass(frozen=True)
class Contestant:
    """A network in one form: in PyTorch a module, elsewhere a file."""

    network: str
    form: str
    source: nn.Module | Path

    @property
    def int8(self) -> bool:
        """Whether it is quantised."""
        return self.form.endswith(INT8)


def usable_runtimes(names: Sequence[str]) -> list[str]:
    """Return those of the runtimes whose package is installed.

    Raises:
        ArgumentError: There is no such runtime.
    """
    for name in names:
        if name not in RUNTIMES:
            raise unknown_name("runtimes", name, RUNTIMES)
    return [name for name in names if name == PYTORCH or find_spec(name) is not None]


def versions(runtimes: Sequence[str]) -> dict[str, str]:
    """Return the versions of the runtimes, PyTorch's being among the facts of every benchmark."""
    return {name: version(name) for name in runtimes if name != PYTORCH}


@contextmanager
def contestants(
    names: Sequence[str],
    size: int,
    *,
    forms: Sequence[str] = FILE_FORMS,
    int8: bool = True,
    progress: Callable[[str], None] = lambda step: None,
) -> Iterator[list[Contestant]]:
    """Make networks of random weights and export them, into a folder that is removed at the end.

    Args:
        names: timm names, the static network first.
        size: Height and width in pixels.
        forms: Forms of dynamic layers in ONNX files.
        int8: Whether files in 8-bit integers take part.
        progress: Called with what is done next.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for number, name in enumerate(dict.fromkeys(names)):
            torch.manual_seed(0)
            network = timm.create_model(name).eval()
            channels = network.default_cfg["input_size"][0]
            images = torch.randn(16, channels, size, size, generator=torch.Generator().manual_seed(0)).numpy()
            found.append(Contestant(name, EAGER, network.to(memory_format=torch.channels_last)))
            dynamic = next(iter_dynamic(network), None) is not None
            for form in forms if dynamic else (STATIC,):
                progress(f"export {name}, {form}")
                file = Path(folder) / f"{number}_{form}.onnx"
                export_onnx(network, file, input_size=(channels, size, size), form=form if dynamic else "auto")
                found.append(Contestant(name, form, file))
                if int8:
                    small = file.with_name(f"{number}_{form}_int8.onnx")
                    quantize_onnx(file, small, [images])
                    found.append(Contestant(name, f"{form} {INT8}", small))
        yield found


def time_runtimes(
    case: RuntimeCase, networks: Sequence[Contestant], runtimes: Sequence[str] = RUNTIMES
) -> list[RuntimeTiming]:
    """Time networks in turns, all runtimes in one process.

    Args:
        case: What they have in common.
        networks: The contestants, the static network first.
        runtimes: Those that take part.

    Raises:
        ArgumentError: There is no such runtime, or its package is missing.
    """
    for name in runtimes:
        if name not in usable_runtimes([name]):
            raise ArgumentError("runtimes", sentence=f"{name} is not installed; run: pip install {name}")
    before = torch.get_num_threads()
    torch.set_num_threads(case.threads)
    calls = {}
    try:
        for runtime in runtimes:
            for each in networks:
                if isinstance(each.source, nn.Module) == (runtime == PYTORCH):
                    calls[runtime, each] = _CALLS[runtime](each.source, _images(each, networks, case), case.threads)
        for call in (*calls.values(),) * _WARM_UP:
            call()
        times = {key: summary(each) for key, each in take_turns(calls, seconds=case.seconds).items()}
    finally:
        torch.set_num_threads(before)
    first = {(runtime, each.int8): times[runtime, each][0] for runtime, each in reversed(times)}
    return [
        RuntimeTiming(
            case,
            runtime,
            each.network,
            each.form,
            *times[runtime, each],
            times[runtime, each][0] / first[runtime, each.int8],
        )
        for runtime, each in times
    ]


def _images(each: Contestant, networks: Sequence[Contestant], case: RuntimeCase) -> Tensor:
    module = next(other.source for other in networks if other.network == each.network and other.form == EAGER)
    channels = module.default_cfg["input_size"][0]
    generator = torch.Generator().manual_seed(0)
    return torch.randn(case.batch, channels, case.size, case.size, generator=generator)


def _in_pytorch(network: nn.Module, images: Tensor, threads: int) -> Callable[[], object]:
    return torch.no_grad()(partial(network, images.contiguous(memory_format=torch.channels_last)))


def _in_onnxruntime(path: Path, images: Tensor, threads: int) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    # Threads that wait for work would take the core from the next contestant.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return partial(session.run, None, {session.get_inputs()[0].name: images.numpy()})


def _in_openvino(path: Path, images: Tensor, threads: int) -> Callable[[], object]:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape(list(images.shape))
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return partial(request.infer, [images.numpy()])


_CALLS = {PYTORCH: _in_pytorch, ONNXRUNTIME: _in_onnxruntime, OPENVINO: _in_openvino}
