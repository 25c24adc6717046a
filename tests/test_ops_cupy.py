"""The cupy backend: what it says where it cannot run, how it launches and, with a GPU, that it is right there."""

import ctypes
import subprocess
import sys
import threading

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import ops
from ops import cuda_calls, reference
from ops.backends import cupy_backend
from ops.cuda_kernels import sum_kernel
from ops.cuda_plan import Call

STATUS = {status.name: status for status in ops.backends()}["cupy"]
GEOMETRY = ((2, 1), (1, 2), (1, 1))  # stride, padding, dilation


class TestWhereItCannotRun:
    def test_a_machine_without_anything_is_told_all(self):
        cupy, device = cupy_backend.missing(None, has_cupy=False, has_device=False)
        assert cupy == "got no CuPy; need `pip install cupy-cuda13x` or `pip install cupy-cuda12x`"
        assert device == "got a PyTorch built without CUDA; need an NVIDIA GPU, its driver, and a CUDA build of PyTorch"

    @pytest.mark.parametrize(("version", "package"), [("13.0", "cupy-cuda13x"), ("12.8", "cupy-cuda12x")])
    def test_the_package_is_that_of_pytorch_s_cuda(self, version, package):
        assert cupy_backend.missing(version, has_cupy=False, has_device=True) == (
            f"got no CuPy; need `pip install {package}`",
        )

    def test_a_machine_without_a_gpu_is_told_so(self):
        (reason,) = cupy_backend.missing("13.0", has_cupy=True, has_device=False)
        assert reason.startswith("got no CUDA device; need")

    def test_a_machine_with_both_lacks_nothing(self):
        assert cupy_backend.missing("13.0", has_cupy=True, has_device=True) == ()

    @pytest.mark.skipif(STATUS.available, reason="the backend can run here")
    def test_naming_it_raises_with_every_reason(self):
        with pytest.raises(ops.BackendUnavailable) as error:
            ops.depthwise_conv2d(torch.randn(1, 2, 5, 5), torch.randn(1, 2, 3, 3), backend="cupy")
        assert STATUS.reasons
        assert all(reason in str(error.value) for reason in STATUS.reasons)

    def test_other_devices_and_dtypes_are_declined(self):
        problem = ops.Problem.of(torch.randn(1, 2, 5, 5).double(), torch.randn(1, 2, 3, 3), (1, 1), (0, 0), (1, 1))
        assert cupy_backend.unmet(problem) == (
            "got device cpu, need cuda",
            "got torch.float64, need float32, float16 or bfloat16",
        )
        assert cupy_backend.unmet(problem._replace(device="cuda", dtype=torch.float16)) == ()

    def test_importing_ops_does_not_import_cupy(self):
        code = "import sys, ops; ops.backends(); print('cupy' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert done.stdout == "False\n", done.stderr


class Recorder:
    """What CuPy offers, written down instead of done."""

    def __init__(self):
        self.loaded, self.launched, self.touched = [], [], []

    def load(self, code):
        self.loaded.append(code)

    def get_function(self, name):
        function = type("Function", (), {})()
        function.ptr = f"the function {name}"
        return function

    def launch(self, *arguments):
        array = ctypes.c_void_p.from_address(arguments[9])
        self.launched.append((arguments, Call.from_buffer_copy(ctypes.string_at(array.value, ctypes.sizeof(Call)))))


@pytest.fixture
def recorded(monkeypatch):
    recorder = Recorder()
    device = object.__new__(cupy_backend.Device)
    device.index, device.processors, device.architecture = 0, 132, "sm_90"
    device._new_module, device._start = lambda: recorder, recorder.launch
    device._touch = lambda: recorder.touched.append(threading.get_ident())
    device._entered, device._functions = threading.local(), {}
    stream = type("Stream", (), {"cuda_stream": 1234})()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index: stream)
    monkeypatch.setattr(cupy_backend, "compiled", lambda name, text, architecture: (name, architecture))
    return device, recorder


class TestLaunching:
    def test_the_driver_gets_the_grid_the_stream_and_the_arguments(self, recorded):
        device, recorder = recorded
        call = Call(batch=7, strip=5, blocks=2**40, out=4096)
        device.launch(sum_kernel("half"), 11, 96, 640, call)
        ((arguments, seen),) = recorder.launched
        assert arguments[:9] == ("the function add_parts_half", 11, 1, 1, 96, 1, 1, 640, 1234)
        assert arguments[10] == 0
        assert (seen.batch, seen.strip, seen.blocks, seen.out) == (7, 5, 2**40, 4096)

    def test_a_kernel_is_loaded_once(self, recorded):
        device, recorder = recorded
        for name in ("half", "half", "float"):
            device.launch(sum_kernel(name), 1, 32, 0, Call())
        assert recorder.loaded == [("add_parts_half", "sm_90"), ("add_parts_float", "sm_90")]

    def test_each_thread_meets_the_device_before_its_first_launch(self, recorded):
        device, recorder = recorded
        for _ in range(2):
            device.launch(sum_kernel("half"), 1, 32, 0, Call())
        thread = threading.Thread(target=device.launch, args=(sum_kernel("half"), 1, 32, 0, Call()))
        thread.start()
        thread.join()
        assert len(recorder.touched) == len(set(recorder.touched)) == 2

    def test_calls_do_not_share_arguments(self, recorded):
        """A plan is kept for the next call of the same shape, the addresses are not."""
        device, recorder = recorded
        weight = torch.randn(1, 4, 3, 3)
        inputs = [torch.randn(1, 4, 8, 8) for _ in range(2)]
        outputs = [cuda_calls.forward(x, weight, (1, 1), (1, 1), (1, 1), gpu=device) for x in inputs]
        seen = [call for _, call in recorder.launched]
        assert [getattr(call, "in") for call in seen] == [x.data_ptr() for x in inputs]
        assert [call.out for call in seen] == [y.data_ptr() for y in outputs]


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("needs_grad", [True, False])
def test_it_can_be_traced_without_a_gpu(channels_last, needs_grad):
    format_ = torch.channels_last if channels_last else torch.contiguous_format
    with FakeTensorMode():
        x = torch.empty(3, 8, 9, 7, device="cuda", dtype=torch.bfloat16).contiguous(memory_format=format_)
        bank = torch.empty(4, 8, 3, 3, device="cuda", dtype=torch.bfloat16, requires_grad=needs_grad)
        attention = torch.empty(3, 4, device="cuda", dtype=torch.bfloat16)
        y = cupy_backend.run_bank(x, bank, attention, *GEOMETRY)
        assert (y.shape, y.dtype, y.device.type) == ((3, 8, 5, 9), torch.bfloat16, "cuda")
        assert y.is_contiguous(memory_format=format_)
        assert y.requires_grad == needs_grad


gpu = [pytest.mark.gpu, pytest.mark.skipif(not STATUS.available, reason="; ".join(STATUS.reasons))]


def drawn(batch=4, channels=16, size=(14, 13), kernel=3, dtype=torch.float32, channels_last=True, device="cuda"):
    format_ = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(batch, channels, *size, device=device, dtype=dtype).contiguous(memory_format=format_)
    return x, torch.randn(batch, channels, kernel, kernel, device=device, dtype=dtype)


def call(x, weight, **geometry):
    return ops.depthwise_conv2d(x, weight, padding=weight.shape[2] // 2, backend="cupy", **geometry)


def results(x, weight, **geometry):
    """Return the output and both gradients."""
    leaves = [t.detach().requires_grad_() for t in (x, weight)]
    y = call(*leaves, **geometry)
    return [y.detach(), *torch.autograd.grad(y, leaves, torch.ones_like(y))]


class TestOnAGpu:
    pytestmark = gpu

    @pytest.mark.parametrize("channels_last", [True, False])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("per_channel", [True, False])
    @pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1)])
    def test_bank_is_mixed_inside(self, kernel, stride, per_channel, dtype, channels_last):
        x, _ = drawn(dtype=dtype, channels_last=channels_last)
        bank = torch.randn(4, 16, 1, kernel, kernel, device="cuda", dtype=dtype)
        attention = torch.rand(4, 4, *([16] if per_channel else []), device="cuda", dtype=dtype)
        geometry = {"stride": stride, "padding": kernel // 2, "groups": 16}
        exact = reference.dynamic_conv2d(x, bank, attention, **geometry)
        found = ops.dynamic_conv2d(x, bank, attention, backend="cupy", **geometry)
        limit = (torch.finfo(dtype).eps + 1e-5) * exact.abs().max()
        assert (found.double() - exact).abs().max() <= limit

    @pytest.mark.parametrize("channels_last", [True, False])
    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
    def test_the_same_call_gives_the_same_bits(self, dtype, stride, channels_last):
        for size in ((14, 14), (112, 112)):
            x, weight = drawn(2, 24, size, 3, dtype, channels_last)
            first = results(x, weight, stride=stride)
            for _ in range(5):
                assert all(torch.equal(a, b) for a, b in zip(first, results(x, weight, stride=stride)))

    @pytest.mark.parametrize("channels_last", [True, False])
    def test_more_planes_than_a_dimension_of_the_grid_holds(self, channels_last):
        x, weight = drawn(1100, 64, (5, 6), dtype=torch.bfloat16, channels_last=channels_last)
        for found, exact in zip(results(x, weight), self.exact(x, weight)):
            torch.testing.assert_close(found.double(), exact, rtol=1e-2, atol=3e-2)

    @staticmethod
    def exact(x, weight):
        leaves = [t.detach().double().requires_grad_() for t in (x, weight)]
        y = reference.depthwise_conv2d(*leaves, padding=1)
        return [y.detach(), *torch.autograd.grad(y, leaves, torch.ones_like(y))]

    def test_it_runs_on_the_current_stream(self):
        x, weight = drawn(32, 64, (56, 56))
        want = call(x, weight)
        torch.cuda.synchronize()
        stream, source = torch.cuda.Stream(), torch.zeros_like(x)
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)  # on another stream, the call would read the zeros
            source.copy_(x)
            y = call(source, weight)
        stream.synchronize()
        assert torch.equal(y, want)

    def test_it_runs_on_a_new_thread(self):
        x, weight = drawn()
        want, found = call(x, weight), []
        thread = threading.Thread(target=lambda: found.append(call(x, weight)))
        thread.start()
        thread.join()
        assert torch.equal(found[0], want)

    @pytest.mark.skipif(torch.cuda.device_count() < 2, reason="got fewer than two GPUs; need two")
    def test_it_runs_where_the_tensors_are(self):
        x, weight = drawn()
        elsewhere = call(x.to("cuda:1"), weight.to("cuda:1"))
        assert elsewhere.device == torch.device("cuda:1")
        assert torch.cuda.current_device() == 0
        torch.testing.assert_close(elsewhere.cpu(), call(x, weight).cpu())

    @pytest.mark.parametrize("channels_last", [True, False])
    def test_a_cuda_graph_records_it(self, channels_last):
        x, weight = drawn(1, 96, (32, 32), channels_last=channels_last)
        results(x, weight)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            recorded = results(x, weight)
        for _ in range(2):
            x.normal_()
            graph.replay()
            torch.cuda.synchronize()
            assert all(torch.equal(a, b) for a, b in zip(recorded, results(x, weight)))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_autocast_decides_the_dtype(self, dtype):
        x, weight = drawn()
        leaf = weight.requires_grad_()
        with torch.autocast("cuda", dtype):
            y = call(x, leaf)
        assert y.dtype == dtype
        y.float().sum().backward()
        assert leaf.grad.dtype == torch.float32
        assert leaf.grad.isfinite().all()

    @pytest.mark.parametrize("needs_grad", [True, False])
    def test_it_compiles_whole_for_every_batch_size(self, needs_grad):
        torch.compiler.reset()

        def layer(x, bank, attention):
            return ops.dynamic_conv2d(x, bank, attention, padding=1, groups=16, backend="cupy").relu()

        compiled = torch.compile(layer, fullgraph=True, dynamic=True)
        bank = torch.randn(4, 16, 1, 3, 3, device="cuda", requires_grad=needs_grad)
        for batch in (2, 3, 5):
            x, attention = drawn(batch)[0], torch.rand(batch, 4, device="cuda")
            found, want = compiled(x, bank, attention), layer(x, bank, attention)
            torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-4)
            if needs_grad:
                for y in (found, want):
                    (grad,) = torch.autograd.grad(y.square().sum(), bank)
                    assert grad.abs().max() > 0

    @pytest.mark.parametrize("name", ["depthwise", "depthwise_bank", "depthwise_grad_input", "depthwise_grad_weight"])
    @pytest.mark.parametrize("channels_last", [True, False])
    def test_operators_keep_the_rules_of_pytorch(self, name, channels_last):
        x, weight = drawn(channels_last=channels_last)
        y = torch.ops.dyc.depthwise(x, weight, *GEOMETRY)
        arguments = {
            "depthwise": (x, weight, *GEOMETRY),
            "depthwise_bank": (x, torch.randn_like(weight), torch.rand(4, 4, device="cuda"), *GEOMETRY),
            "depthwise_grad_input": (torch.randn_like(y), weight, x.shape[2:], *GEOMETRY),
            "depthwise_grad_weight": (torch.randn_like(y), x, weight.shape[2:], *GEOMETRY),
        }[name]
        arguments = tuple(a.requires_grad_() if isinstance(a, torch.Tensor) else a for a in arguments)
        torch.library.opcheck(getattr(torch.ops.dyc, name).default, arguments)

    def test_the_mixed_kernels_are_never_in_memory(self):
        x = drawn(256, 64, (4, 4))[0]
        bank, attention = torch.randn(4, 64, 1, 3, 3, device="cuda"), torch.rand(256, 4, 64, device="cuda")

        def layer():
            with torch.no_grad():
                return ops.dynamic_conv2d(x, bank, attention, padding=1, groups=64, backend="cupy")

        layer()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        y = layer()
        assert torch.cuda.max_memory_allocated() - before <= y.numel() * y.element_size() + 512
