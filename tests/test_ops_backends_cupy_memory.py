"""The CUDA kernels under compute-sanitizer: no access out of bounds, no race, no misused barrier."""

import shutil
import sys

import pytest
from support.processes import run

import ops

STATUS = {status.name: status for status in ops.backends()}["cupy"]
SANITIZER = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not STATUS.available, reason="; ".join(STATUS.reasons)),
    pytest.mark.skipif(SANITIZER is None, reason="got no compute-sanitizer; need that of the CUDA toolkit"),
]

# Odd sizes and every kind of kernel: forward, both gradients, the bank mixed inside.
PROGRAM = """
import torch, ops
for channels_last in (True, False):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for dtype in (torch.float32, torch.float16):
        for kernel, stride, dilation in ((3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 2, 1), (7, 1, 1), (3, 1, 2)):
            x = torch.randn(3, 7, 11, 13, device="cuda", dtype=dtype).contiguous(memory_format=layout).requires_grad_()
            w = torch.randn(3, 7, kernel, kernel, device="cuda", dtype=dtype, requires_grad=True)
            window = {"stride": stride, "padding": kernel // 2, "dilation": dilation, "backend": "cupy"}
            y = ops.depthwise_conv2d(x, w, **window)
            torch.autograd.grad(y, (x, w), torch.randn_like(y))
            bank = torch.randn(4, 7, 1, kernel, kernel, device="cuda", dtype=dtype)
            with torch.no_grad():
                ops.dynamic_conv2d(x, bank, torch.rand(3, 4, 7, device="cuda", dtype=dtype), groups=7, **window)
torch.cuda.synchronize()
print("ran")
"""


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
def test_compute_sanitizer_finds_nothing(tool):
    command = [SANITIZER, "--tool", tool, "--error-exitcode", "9"]
    done = run([*command, sys.executable, "-c", PROGRAM])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "ran" in done.stdout
