"""torch.compile: sums over kernel taps that Inductor fuses into one loop, on the CPU and on the GPU.

The operator and its gradients are three bilinear functions, each made of the others when differentiated, so there are
derivatives of any order, and each compiled function computes without gradients. Inside a function that is itself being
compiled they are traced, not called: Inductor sees the sums and may fuse what stands around them.

``torch.autograd.Function`` holds the rules rather than a ``torch.library`` operator, because a library operator is
opaque to the outer compilation, and the gradients that autograd derives from the sums are 2 to 7 times slower.
"""

import os
import shutil
import sys
import threading
from types import FunctionType

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from ops.backends.compiled import plane_taps, taps, visible
from ops.dispatch.backend import Backend, Implementation
from ops.dispatch.operators import DEPTHWISE
from ops.dispatch.problem import Problem
from ops.errors import BackendUnavailable
from ops.layout import is_channels_last, laid_out
from ops.window import Pair, Window

_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_CXX = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")  # as Inductor looks for it
_MISSING = (
    ()
    if shutil.which(_CXX)
    else (f"got no {_CXX}; Inductor needs a C++ compiler, g++ or the one that CXX names (Debian: apt-get install g++)",)
)

# Under an outer torch.compile, PyTorch 2.11 has a wrong gradient of _Forward on channels_last features; 2.15 has not.
_RULES_TRACE_RIGHT = TorchVersion(torch.__version__) >= (2, 15)

_PROGRAMS: dict[tuple, FunctionType] = {}
_LOCK = threading.Lock()


def unmet(problem: Problem) -> tuple[str, ...]:
    """Return why Inductor cannot run a problem."""
    return problem.unmet(("cpu", "cuda"), _DTYPES)


@torch.compiler.disable
def prepare() -> None:
    """Ask whether torch.compile supports this Python and platform."""
    from torch._dynamo.eval_frame import check_if_dynamo_supported  # imports seconds of code, needed only here

    try:
        check_if_dynamo_supported()
    except RuntimeError as error:
        raise BackendUnavailable(f"got {error}; need a Python that this PyTorch compiles on") from error


def _formula(kind: str, channels_last: bool, device: str, kernel: Pair, window: Window):
    """Return the plain function of a kind of call, and what it takes between its two tensors and the window."""
    form = plane_taps if device == "cpu" and not channels_last and plane_taps.fits(kernel, window) else taps
    return getattr(form, kind), kernel if kind == "grad_weight" else ()


def _template(first: Tensor, second: Tensor) -> Tensor:
    return function(first, second, *"numbers", Window(*"window"))  # noqa: F821  (see _own_function)


def _own_function(name: str, function: FunctionType, numbers: tuple[int, ...], window: Window) -> FunctionType:
    """Return ``_template`` as a function with code of its own that calls ``function`` with these constants.

    Dynamo counts recompilations by code object, so each program has its own. The numbers are constants of the code:
    what a closure or a default holds would be traced as a number that may change from call to call.
    """
    code = _template.__code__
    constants = {"numbers": numbers, "window": tuple(window)}
    literals = tuple(constants.get(c, c) if isinstance(c, str) else c for c in code.co_consts)
    return FunctionType(code.replace(co_name=name, co_consts=literals), {**globals(), "function": function}, name)


def _first_call(key: tuple, facts: tuple, *arguments: Tensor) -> Tensor:
    """Compile the function of a key and call it.

    Shapes never meet Dynamo's limit, and a graph traced for one batch serves all. Where a size is 1 it specialises, so
    which ones are is part of the key; sizes that happen to be equal here must not be taken for always equal.
    """
    from torch.fx.experimental import _config

    function, numbers = _formula(*facts)
    named = _own_function(f"depthwise_{facts[0]}_{len(_PROGRAMS)}", function, numbers, facts[-1])
    program = torch.compile(named, dynamic=True, fullgraph=True)
    with _LOCK, _config.patch(use_duck_shape=False):
        program = _PROGRAMS.get(key, program)
        y = program(*arguments)
        _PROGRAMS[key] = program
    return y


def _better_dense(channels_last: bool, device: str, kernel: Pair, window: Window) -> bool:
    """Tell whether computing at stride 1 and keeping some of the pixels beats computing those alone.

    It does in NCHW on the CPU at stride 2: four times the pixels, but in whole vectors, which Inductor does not make of
    every second pixel of a row; and nothing more to compile.
    """
    sy, sx = window.stride
    return device == "cpu" and not channels_last and 1 < sy * sx <= 4 and plane_taps.fits(kernel, _dense(window))


def _dense(window: Window) -> Window:
    return Window((1, 1), window.padding, window.dilation)


def _laid_out(x: Tensor, channels_last: bool) -> Tensor:
    """Return ``(B, C, ...)`` dense in channels_last, or as ``(B * C, ...)``, with the strides of its shape."""
    if channels_last:
        x = laid_out(x, True)
        if 1 in x.shape:  # the strides of such dimensions are free, and Dynamo would compile for each
            _, channels, height, width = x.shape
            x = x.as_strided(x.shape, (height * width * channels, 1, width * channels, channels))
        return x
    x = x.contiguous()
    return x.view(-1, *x.shape[2:])


def _compute(
    kind: str, first: Tensor, second: Tensor, size: tuple[int, ...], kernel: Pair, window: Window, channels_last: bool
) -> Tensor:
    """Run one of the three functions on ``(B, C, ...)`` tensors, compiled, or as it is while traced or watched."""
    if visible.is_watched():
        return visible.call(kind, first, second, size, kernel, window, channels_last)
    compiled = not torch.compiler.is_compiling()
    return _computed(kind, first, second, size, kernel, window, channels_last, compiled)


def _computed(
    kind: str,
    first: Tensor,
    second: Tensor,
    size: tuple[int, ...],
    kernel: Pair,
    window: Window,
    channels_last: bool,
    compiled: bool = False,
) -> Tensor:
    lead, device = first.shape[:2], first.device.type
    stride, padding, dilation = window
    if _better_dense(channels_last, device, kernel, window):
        dense = _dense(window)
        if kind == "forward":
            y = _computed(kind, first, second, (), kernel, dense, False, compiled)
            return y[..., :: stride[0], :: stride[1]].contiguous()
        spread = first.new_zeros((*lead, *(size or second.shape[2:])))
        spread[..., :: stride[0], :: stride[1]] = first
        return _computed(kind, spread, second, size, kernel, dense, False, compiled)
    if kind == "grad_input" and stride == (1, 1):
        turned = tuple(d * (k - 1) - p for k, p, d in zip(kernel, padding, dilation))
        if min(turned) >= 0:  # the same sum with the kernel turned by 180 degrees: one thing less to compile
            kind, second, size, window = "forward", second.flip(2, 3), (), Window(stride, turned, dilation)
    if kind == "grad_input":
        first = taps.phase_input(first, kernel, *size, window)
        kind = "grad_phases"
    images = _laid_out(first, channels_last)
    if kind == "grad_weight":
        others = _laid_out(second, channels_last)
    else:
        others = second.contiguous() if channels_last else second.contiguous().view(-1, *kernel)
    facts = (kind, channels_last, device, kernel, window)
    if not compiled:
        function, numbers = _formula(*facts)
        y = function(images, others, *numbers, window)
    else:
        ends = window.output_size(images.shape[-2:], kernel) if kind == "forward" else others.shape
        ones = (*(n == 1 for n in images.shape), *(n == 1 for n in ends))
        # The rest is what Dynamo looks at besides the arguments.
        state = (torch.is_inference_mode_enabled(), torch.is_autocast_enabled(device), torch.get_num_threads())
        key = (*facts, first.dtype, first.device.index, ones, state)
        # Detached: Dynamo would compile for what is a view or needs a gradient, and neither matters here.
        images, others = images.detach(), others.detach()
        program = _PROGRAMS.get(key)
        try:
            y = program(images, others) if program else _first_call(key, facts, images, others)
        except RuntimeError as error:
            if _failed_to_compile(error):
                raise BackendUnavailable(f"got an error of torch.compile: {error}"[:2000]) from error
            raise
    y = y if channels_last else y.unflatten(0, lead)
    if kind == "grad_weight":
        return y
    if kind == "grad_phases":
        y = y[..., : size[0], : size[1]]
    return laid_out(y, channels_last)


def _failed_to_compile(error: RuntimeError) -> bool:
    """Tell a failed compilation from an error of the computation, such as too little memory."""
    from torch._dynamo.exc import TorchDynamoException

    return isinstance(error, TorchDynamoException)


visible.implement(_computed)


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, window, channels_last):
        ctx.save_for_backward(x, weight)
        ctx.rest = window, channels_last
        return _compute("forward", x, weight, (), tuple(weight.shape[2:]), window, channels_last)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad
        gx = _GradInput.apply(grad, weight, tuple(x.shape[2:]), *ctx.rest) if needs[0] else None
        gw = _GradWeight.apply(grad, x, tuple(weight.shape[2:]), *ctx.rest) if needs[1] else None
        return gx, gw, None, None


class _GradInput(torch.autograd.Function):
    @staticmethod
    def forward(ctx, grad, weight, size, window, channels_last):
        ctx.save_for_backward(grad, weight)
        ctx.rest = window, channels_last
        return _compute("grad_input", grad, weight, size, tuple(weight.shape[2:]), window, channels_last)

    @staticmethod
    def backward(ctx, second):
        grad, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad
        ggrad = _Forward.apply(second, weight, *ctx.rest) if needs[0] else None
        gw = _GradWeight.apply(grad, second, tuple(weight.shape[2:]), *ctx.rest) if needs[1] else None
        return ggrad, gw, None, None, None


class _GradWeight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, grad, x, kernel, window, channels_last):
        ctx.save_for_backward(grad, x)
        ctx.rest = window, channels_last
        return _compute("grad_weight", grad, x, (), kernel, window, channels_last)

    @staticmethod
    def backward(ctx, second):
        grad, x = ctx.saved_tensors
        needs = ctx.needs_input_grad
        ggrad = _Forward.apply(x, second, *ctx.rest) if needs[0] else None
        gx = _GradInput.apply(grad, second, tuple(x.shape[2:]), *ctx.rest) if needs[1] else None
        return ggrad, gx, None, None, None


def run(x: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Convolve ``(B, C, H, W)`` with ``(B, C, kH, kW)``; see :func:`ops.depthwise_conv2d`."""
    last = is_channels_last(x)
    if torch.compiler.is_compiling() and not _RULES_TRACE_RIGHT:
        return _compute("forward", x, weight, (), tuple(weight.shape[2:]), window, last)  # differentiated by autograd
    return _Forward.apply(x, weight, window, last)


COMPILE = Backend(
    "compile",
    {DEPTHWISE: Implementation(run, unmet, prepare)},
    summary="torch.compile of sums over taps, compiled at first use",
    missing=_MISSING,
)
