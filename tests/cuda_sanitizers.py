"""Run the CUDA kernels under NVIDIA's compute-sanitizer: ``python tests/cuda_sanitizers.py``.

memcheck finds accesses outside of memory, racecheck races in shared memory, initcheck reads of memory that nothing
wrote, synccheck wrong barriers. Needs a GPU, CuPy and ``compute-sanitizer``, which CUDA's toolkit brings; the exit
status is 1 where one of them found something.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")


def call_every_kernel() -> None:
    """Call the operators in every shape and type that the tests know, forward and backward."""
    import torch
    from support.depthwise_cases import CASES, gradient_like, inputs

    import ops

    calls = 0
    for case in CASES:
        for dtype in (torch.float32, torch.bfloat16):
            x, weight = inputs(case, dtype, "cuda")
            y = ops.depthwise_conv2d(x, weight, **case.geometry, backend="cupy")
            wanted = [each for each in (x, weight) if each.requires_grad]
            torch.autograd.grad(y, wanted, gradient_like(case, y))
            channels = x.shape[1]
            bank = torch.randn(4, channels, 1, *case.kernel, device="cuda", dtype=dtype)
            attention = torch.rand(len(x), 4, channels, device="cuda", dtype=dtype)
            with torch.no_grad():
                ops.dynamic_conv2d(x, bank, attention, **case.geometry, groups=channels, backend="cupy")
            calls += 1
    torch.cuda.synchronize()
    print(f"{calls} calls")


def run(tool: str) -> bool:
    """Run all calls under one tool, print its summary, and tell whether it found nothing."""
    command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "1", "--print-limit", "20"]
    # Without PyTorch's cache of memory every tensor is an allocation of its own, whose bounds memcheck knows.
    environment = {
        **os.environ,
        "PYTORCH_NO_CUDA_MEMORY_CACHING": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [*command, sys.executable, __file__, "--calls"], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    print(f"{tool}: exit status {done.returncode}", *(lines if done.returncode else lines[-3:]), sep="\n  ", flush=True)
    return done.returncode == 0


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Run the CUDA kernels under compute-sanitizer.")
    parser.add_argument("tools", nargs="*", default=[*TOOLS], help=f"of {', '.join(TOOLS)}; all if none")
    parser.add_argument("--calls", action="store_true", help="only call the kernels, which is what is run under a tool")
    args = parser.parse_args()
    if unknown := [tool for tool in args.tools if tool not in TOOLS]:
        parser.error(f"got {unknown[0]!r}; need one of {', '.join(TOOLS)}")
    if args.calls:
        return call_every_kernel()
    if shutil.which("compute-sanitizer") is None:
        sys.exit("cuda_sanitizers: got no compute-sanitizer on PATH; need CUDA's toolkit")
    well = [run(tool) for tool in args.tools]
    sys.exit(0 if all(well) else 1)


if __name__ == "__main__":
    main()
