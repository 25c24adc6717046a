"""Compile the C++ sources once and keep the libraries, keyed by everything that they depend on.

No build tool: each source is compiled by one call of the compiler, as many at a time as there are cores. The loops are
in files without PyTorch's headers, which take longer to compile than most of the loops do.
"""

import errno
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from ops.backends.cache import cache_folder, is_whole, locked, moved_into_place, seal
from ops.errors import BackendUnavailable

SOURCES = Path(__file__).parent / "csrc"
LIBRARIES = {  # the sources of each
    "convolutions": ("convolutions", "branch", "channels_last_float", "channels_last_bfloat16", "channels_first"),
    "rewire": ("rewire", "rewire_loops"),
}
SECONDS = {  # that one of two busy cores takes for each source, about (an AMD EPYC without AVX-512)
    "convolutions": 18,
    "rewire": 14,
    "channels_last_bfloat16": 12,
    "channels_last_float": 11,
    "channels_first": 7,
    "branch": 4,
    "rewire_loops": 3,
}
FLAGS = (
    *("-O3", "-march=native", "-std=c++20", "-Wno-psabi"),
    *("-fPIC", "-fopenmp", "-DAT_PER_OPERATOR_HEADERS"),
)
NEEDED = 16 * 2**20
"""Bytes: with less than this free, a full disk is why a compiler failed."""
CALLS = ("convolutions", "rewire")  # sources with PyTorch's headers and without loops
# Their time goes into reading the headers: -O1 does for the rest, inline functions are not kept for other libraries,
# and g++ collects its garbage from 1 GiB on (it needs 1.1 where it would need 0.9).
CALLS_FLAGS = ("-O1", "-fvisibility-inlines-hidden", "--param", "ggc-min-heapsize=1048576")
LINKED = ("-ltorch_cpu", "-lc10")


def compiler() -> tuple[str, ...] | None:
    """Return the C++ compiler's command: that of the variable ``CXX``, else c++, g++ or clang++ (None if not found)."""
    commands = [shlex.split(os.environ["CXX"])] if os.environ.get("CXX") else [["c++"], ["g++"], ["clang++"]]
    return next((tuple(command) for command in commands if command and shutil.which(command[0])), None)


def no_compiler() -> str:
    """Say what was looked for, and what to install."""
    sought = f"CXX={os.environ['CXX']!r}, which is not there" if os.environ.get("CXX") else "no C++ compiler"
    return f"got {sought}; need g++ or clang++ on PATH (Debian: apt-get install g++)"


def build(*names: str) -> list[Path]:
    """Return the shared libraries of these names (see ``LIBRARIES``), compiling those that are not kept yet.

    Of several processes that start at the same moment one compiles and the others wait for it.

    Raises:
        BackendUnavailable: There is no compiler, or it failed; holds the end of its output.
    """
    cxx = compiler()
    if cxx is None:
        raise BackendUnavailable(no_compiler())
    targets = {name: _target(name, cxx) for name in names}
    try:
        if _missing(targets):
            with locked(cache_folder(), lambda: _say("waiting for another process that compiles the C++ kernels")):
                if wanted := _missing(targets):
                    for path in filter(Path.exists, wanted.values()):
                        _say(f"{path} is damaged, and made anew")
                    _compile(cxx, wanted)
    except TimeoutError as error:
        got = f"no compiled file, as another process has held {error.filename} for minutes"
        raise BackendUnavailable(f"got {got}; need its end (fuser names it), or another DYC_CACHE") from error
    except OSError as error:
        need = "free space there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "a writable DYC_CACHE"
        raise BackendUnavailable(f"got no place to keep the compiled file ({error}); need {need}") from error
    return list(targets.values())


def build_all() -> list[Path]:
    """Return all shared libraries, compiling those that are not kept yet: ahead of time, for images and clusters.

    They use every instruction of the processor that compiles them and are kept under a name made of its list of
    instruction sets. A processor with another list does not take them: it compiles its own at first use, beside them,
    and needs a compiler for that. So build an image on the kind of processor that it will run on, or let ``DYC_CACHE``
    be a folder that outlives the container, which may hold the libraries of several kinds.

    Raises:
        BackendUnavailable: There is no compiler, or it failed; holds the end of its output.
    """
    return build(*LIBRARIES)


def _say(text: str) -> None:
    print(f"dyc: {text}", file=sys.stderr, flush=True)


def _processor() -> str:
    """Return what ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _target(name: str, cxx: tuple[str, ...]) -> Path:
    """Return where a library is kept."""
    files = sorted(SOURCES.glob("*.h")) + [SOURCES / f"{source}.cpp" for source in LIBRARIES[name]]
    facts = repr(("sealed", FLAGS, CALLS, CALLS_FLAGS, LINKED, cxx, torch.__version__, _processor())).encode()
    key = hashlib.sha256(b"".join(path.read_bytes() for path in files) + facts).hexdigest()[:16]
    return cache_folder() / f"{name}-{key}.so"


def _missing(targets: dict[str, Path]) -> dict[str, Path]:
    """Return those that are not there, or are damaged."""
    return {name: path for name, path in targets.items() if not is_whole(path)}


def _estimate(sources: Iterable[str], cores: int) -> int:
    """Return about how many seconds it takes to compile these sources."""
    seconds = [SECONDS[source] for source in sources]
    return max(*seconds, sum(seconds) // cores) if len(seconds) > 1 else seconds[0]


def _compile(cxx: tuple[str, ...], targets: dict[str, Path]) -> None:
    """Compile what these libraries consist of, each source once, and link them."""
    home, cores, start = Path(torch.__file__).parent, _cores(), time.monotonic()
    include = (f"-I{home / 'include'}", f"-I{home / 'include/torch/csrc/api/include'}")
    sources = {source for name in targets for source in LIBRARIES[name]}
    longest_first = sorted(sources, key=SECONDS.__getitem__, reverse=True)
    _say(
        "compiling the C++ kernels for this processor, once:"
        f" about {_estimate(sources, cores)} s (kept in {cache_folder()}) ..."
    )
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder, ThreadPoolExecutor(cores) as pool:
        objects = {source: f"{folder}/{source}.o" for source in sources}

        def compile_one(source: str) -> None:
            extra = CALLS_FLAGS if source in CALLS else ()
            _run(cxx, *FLAGS, *extra, *include, "-c", str(SOURCES / f"{source}.cpp"), "-o", objects[source])

        list(pool.map(compile_one, longest_first))
        for name, target in targets.items():
            linked = [objects[source] for source in LIBRARIES[name]]
            with moved_into_place(target) as partial:
                _run(cxx, *FLAGS, "-shared", *linked, f"-L{home / 'lib'}", *LINKED, "-o", str(partial))
                seal(partial)
    _say(f"compiled in {time.monotonic() - start:.0f} s")


def _check_space(said: str) -> None:
    """Raise OSError if a compiler failed because a disk is full, which it says in many ways, if at all."""
    for folder in (str(cache_folder()), tempfile.gettempdir()):
        full = shutil.disk_usage(folder).free < NEEDED
        if full or (folder in said and os.strerror(errno.ENOSPC) in said):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)


def _run(cxx: tuple[str, ...], *arguments: str) -> None:
    try:
        done = subprocess.run([*cxx, *arguments], capture_output=True, text=True)
    except OSError as error:  # found, but nothing that runs
        raise BackendUnavailable(f"got an error of {' '.join(cxx)}: {error}; need a compiler for C++20") from error
    if done.returncode != 0:
        _check_space(done.stderr)
        end = done.stderr[-2000:]
        raise BackendUnavailable(f"got an error of {' '.join(cxx)}:\n{end}\nneed a compiler for C++20")
