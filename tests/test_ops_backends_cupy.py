"""The cupy backend: what it says where it cannot run, how it launches and, with a GPU, that it is right there."""

import ctypes
import threading

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import ops
from ops.backends.cupy import backend as cupy_backend
from ops.backends.cupy import calls as cuda_calls
from ops.backends.cupy.kernels import sum_kernel
from ops.backends.cupy.plan import Call

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
        problem = ops.Problem.of("depthwise_conv2d", torch.randn(1, 2, 5, 5).double(), kernel=(3, 3))
        assert cupy_backend.unmet(problem) == (
            "got device cpu, need cuda",
            "got torch.float64, need float32, float16 or bfloat16",
        )
        problem = problem._replace(device="cuda", dtype=torch.float16)
        assert cupy_backend.unmet(problem) == ()
        assert cupy_backend.unmet_bank(problem) == ()
        assert "got gradients, which need" in cupy_backend.unmet_bank(problem._replace(needs_grad=True))[0]


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
        y = cupy_backend.run_bank(x, bank, attention, ops.Window(*GEOMETRY))
        assert (y.shape, y.dtype, y.device.type) == ((3, 8, 5, 9), torch.bfloat16, "cuda")
        assert y.is_contiguous(memory_format=format_)
        assert y.requires_grad == needs_grad
