"""Compile the C++ sources once and keep the result, keyed by everything that it depends on.

One call of the compiler, without a build tool: the file is written under a temporary name and moved into place, so that
processes which compile at the same moment do not disturb each other.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from ops.errors import BackendUnavailable

SOURCES = Path(__file__).parent / "csrc"
FLAGS = (
    *("-O3", "-march=native", "-std=c++20", "-Wno-psabi"),
    *("-fPIC", "-shared", "-fopenmp", "-DAT_PER_OPERATOR_HEADERS"),
)
LIBRARIES = ("-ltorch_cpu", "-lc10")


def compiler() -> tuple[str, ...] | None:
    """Return the C++ compiler's command: that of the variable ``CXX``, else c++, g++ or clang++ (None if not found)."""
    commands = [shlex.split(os.environ["CXX"])] if os.environ.get("CXX") else [["c++"], ["g++"], ["clang++"]]
    return next((tuple(command) for command in commands if command and shutil.which(command[0])), None)


def no_compiler() -> str:
    """Say what was looked for, and what to install."""
    sought = f"CXX={os.environ['CXX']!r}, which is not there" if os.environ.get("CXX") else "no C++ compiler"
    return f"got {sought}; need g++ or clang++ on PATH (Debian: apt-get install g++)"


def cache_folder() -> Path:
    """Return the folder of compiled files: ``DYC_CACHE``, else ``dyc`` in the user's cache folder."""
    for variable, below in (("DYC_CACHE", "."), ("XDG_CACHE_HOME", "dyc")):
        if os.environ.get(variable):
            return Path(os.environ[variable]) / below
    try:
        return Path.home() / ".cache" / "dyc"
    except RuntimeError as error:
        raise BackendUnavailable(
            f"got no home folder ({error}); need DYC_CACHE, a folder for compiled files"
        ) from error


def _processor() -> str:
    """Return what ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def build(*names: str) -> list[Path]:
    """Return the shared libraries of each ``csrc/NAME.cpp``, compiling at the same time those that are not kept yet.

    Raises:
        BackendUnavailable: There is no compiler, or it failed; holds the end of its output.
    """
    cxx = compiler()
    if cxx is None:
        raise BackendUnavailable(no_compiler())
    headers = b"".join(path.read_bytes() for path in sorted(SOURCES.glob("*.h")))
    facts = repr((FLAGS, LIBRARIES, cxx, torch.__version__, _processor())).encode()
    targets = []
    for name in names:
        key = hashlib.sha256(headers + (SOURCES / f"{name}.cpp").read_bytes() + facts).hexdigest()[:16]
        targets.append(cache_folder() / f"{name}-{key}.so")
    try:
        wanted = [(name, target) for name, target in zip(names, targets) if not target.is_file()]
    except OSError as error:
        raise BackendUnavailable(f"got no place to keep compiled files ({error}); need a writable DYC_CACHE") from error
    if wanted:
        folder = cache_folder()
        print(f"dyc: compiling C++ for this machine, once (kept in {folder})", file=sys.stderr, flush=True)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda pair: _compile(cxx, SOURCES / f"{pair[0]}.cpp", pair[1]), wanted))
    return targets


def _compile(cxx: tuple[str, ...], source: Path, target: Path) -> None:
    home = Path(torch.__file__).parent
    include = (f"-I{home / 'include'}", f"-I{home / 'include/torch/csrc/api/include'}")
    command = [*cxx, *FLAGS, *include, str(source), f"-L{home / 'lib'}", *LIBRARIES]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(suffix=".so", dir=target.parent)
    except OSError as error:
        raise BackendUnavailable(
            f"got no place to keep the compiled file ({error}); need a writable DYC_CACHE"
        ) from error
    os.close(handle)
    try:
        done = subprocess.run([*command, "-o", partial], capture_output=True, text=True)
        if done.returncode != 0:
            end = done.stderr[-2000:]
            raise BackendUnavailable(f"got an error of {' '.join(cxx)}:\n{end}\nneed a compiler for C++20")
        with open(partial, "rb") as file:
            os.fsync(file.fileno())  # a file that a full disk cut short would end the process that loads it
        os.replace(partial, target)
    finally:
        Path(partial).unlink(missing_ok=True)
