"""Run the operators' tests with the C++ kernels compiled for AddressSanitizer, UndefinedBehaviorSanitizer and
ThreadSanitizer: ``python tests/sanitizers.py``.

Only our own files are compiled for them, so only what these do is looked at. Memory that PyTorch hands to them has
fences all the same, because its allocations go through the sanitizer's. Needs g++ with its sanitizers' libraries; the
exit status is 1 where one of them found something, or where a test failed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ops.backends.cache import cache_folder  # noqa: E402 (this file is run as it lies, perhaps without an installation)


@dataclass(frozen=True)
class Sanitizer:
    """How to compile for one sanitizer and what to preload; ``options`` go into the variable that it reads."""

    flags: str
    runtime: str
    variable: str
    options: dict[str, object] = field(default_factory=dict)


SANITIZERS = {
    "address": Sanitizer(
        "-fsanitize=address",
        "libasan.so",
        "ASAN_OPTIONS",
        # Python and PyTorch keep memory until the process ends, which is no leak of ours: tests/test_soak.py looks for
        # those.
        {"detect_leaks": 0, "detect_stack_use_after_return": 1},
    ),
    "undefined": Sanitizer(
        "-fsanitize=undefined,float-cast-overflow -fno-sanitize=vptr",  # PyTorch's classes tell no types
        "libubsan.so",
        "UBSAN_OPTIONS",
        {"print_stacktrace": 1},
    ),
    "thread": Sanitizer("-fsanitize=thread", "libtsan.so", "TSAN_OPTIONS", {"halt_on_error": 0, "exitcode": 0}),
}

TESTS = (
    *("test_ops_functional_properties.py", "test_ops_attended_properties.py", "test_ops_rewiring_properties.py"),
    *("test_ops_backends.py", "test_ops_backends_cpp.py", "test_ops_backends_cpp_empty.py"),
    *(
        "test_ops_attended.py",
        "test_ops_attended_definition.py",
        "test_ops_rewiring.py",
        "test_ops_rewiring_layouts.py",
    ),
)
# What compiles has the compiler for a child, and what runs no code of ours takes long for nothing.
LEFT_OUT = "not compile and not eager and not tracing and not opcheck"
THREADS = "4"


def library(name: str) -> str:
    """Return the path of a library of the compiler."""
    command = [_compiler(), f"-print-file-name={name}"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(found).is_absolute():
        sys.exit(f"sanitizers: got no {name}; need g++ with its sanitizers (Debian: apt-get install g++)")
    return str(Path(found).resolve())


def _compiler() -> str:
    found = shutil.which("g++")
    return found or sys.exit("sanitizers: got no g++; need g++ on PATH (Debian: apt-get install g++)")


def preloaded(name: str, folder: Path) -> str:
    """Return what stands in LD_PRELOAD for a sanitizer."""
    runtime = library(SANITIZERS[name].runtime)
    if name == "address":  # it looks for what throws exceptions, before Python has loaded anything in C++
        return f"{runtime} {library('libstdc++.so.6')}"
    if name != "thread":
        return runtime
    source, shared = Path(__file__).parent / "support" / "openmp_for_tsan.cpp", folder / "openmp_for_tsan.so"
    subprocess.run([_compiler(), "-O1", "-std=c++20", "-fPIC", "-shared", source, runtime, "-o", shared], check=True)
    return f"{runtime} {shared}"


def run(name: str, arguments: list[str]) -> bool:
    """Run the tests under one sanitizer, print what it found, and tell whether all is well."""
    sanitizer = SANITIZERS[name]
    with tempfile.TemporaryDirectory() as folder:
        reports = Path(folder, "reports")
        reports.mkdir()
        options = {**sanitizer.options, "log_path": reports / "report"}
        environment = {
            **os.environ,
            "CXX": f"{_compiler()} {sanitizer.flags} -g -fno-omit-frame-pointer",
            "DYC_CACHE": str(cache_folder() / "sanitizers"),
            "OMP_NUM_THREADS": THREADS,
            "MKL_NUM_THREADS": THREADS,  # which PyTorch takes for its own loops too
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        # Compiled before anything is preloaded: the compiler is no part of the test.
        build = [sys.executable, "-c", "from ops.backends.cpp.build import build_all; build_all()"]
        subprocess.run(build, env=environment, check=True, cwd=ROOT)
        environment["LD_PRELOAD"] = preloaded(name, Path(folder))
        environment[sanitizer.variable] = ":".join(f"{key}={value}" for key, value in options.items())
        tests = arguments or [*(f"tests/{test}" for test in TESTS), "-k", LEFT_OUT]
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
        found = [path.read_text(errors="replace") for path in sorted(reports.iterdir())]
    last = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "nothing")
    print(f"{name}: {len(found)} reports; pytest: {last}", flush=True)
    for text in found:
        print(text[:5000])
    if done.returncode and not found:
        print(done.stdout[-3000:], done.stderr[-3000:], sep="\n")
    return not found and done.returncode == 0


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Run the C++ kernels' tests under sanitizers.")
    parser.add_argument("sanitizers", nargs="*", default=[*SANITIZERS], help=f"of {', '.join(SANITIZERS)}; all if none")
    parser.add_argument("--tests", nargs="+", default=[], help="what pytest gets instead of the operators' tests")
    args = parser.parse_args()
    if unknown := [name for name in args.sanitizers if name not in SANITIZERS]:
        parser.error(f"got {unknown[0]!r}; need one of {', '.join(SANITIZERS)}")
    well = [run(name, args.tests) for name in args.sanitizers]
    sys.exit(0 if all(well) else 1)


if __name__ == "__main__":
    main()
