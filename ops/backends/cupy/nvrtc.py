"""CUDA C++ compiled by NVRTC, once per architecture and version, and kept."""

import hashlib
from functools import cache
from types import ModuleType

from ops.backends.cache import cache_folder, moved_into_place
from ops.errors import BackendUnavailable

FLAGS = ("--std=c++17",)


@cache
def nvrtc() -> ModuleType:
    """Return CuPy's NVRTC."""
    try:
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except Exception as error:  # CuPy raises what it likes where a library is missing or does not fit
        raise BackendUnavailable(f"got CuPy without NVRTC ({error}); need `pip install 'cupy-cuda13x[ctk]'`") from error
    return nvrtc


def compile_program(text: str, architecture: str, *flags: str) -> tuple[bytes, str]:
    """Compile for ``"sm_90"`` and the like (to machine code), or ``"compute_90"`` (to text for the driver to compile).

    Returns:
        What was compiled, and the compiler's notes.

    Raises:
        BackendUnavailable: NVRTC is missing, or refused the program; holds its notes.
    """
    compiler = nvrtc()
    handle = compiler.createProgram(text, "dyc.cu", (), ())
    try:
        try:
            compiler.compileProgram(handle, (*FLAGS, f"--gpu-architecture={architecture}", *flags))
        except compiler.NVRTCError as error:
            notes = compiler.getProgramLog(handle)
            raise BackendUnavailable(f"got an error of NVRTC for {architecture}:\n{notes[-2000:]}") from error
        code = compiler.getCUBIN(handle) if architecture.startswith("sm_") else compiler.getPTX(handle)
        return code if isinstance(code, bytes) else code.encode(), compiler.getProgramLog(handle)
    finally:
        compiler.destroyProgram(handle)


def architecture_for(capability: tuple[int, int]) -> str:
    """Return what to compile for on a device: its own machine code, or text where NVRTC does not know the device."""
    number, known = capability[0] * 10 + capability[1], nvrtc().getSupportedArchs()
    if number in known:
        return f"sm_{number}"
    older = [k for k in known if k <= number]
    if not older:
        raise BackendUnavailable(
            f"got a device of compute capability {capability[0]}.{capability[1]}; need {min(known) / 10} or newer"
        )
    return f"compute_{max(older)}"


def compiled(name: str, text: str, architecture: str) -> bytes:
    """Return a compiled program, from the cache folder where it was compiled before."""
    facts = repr((text, architecture, FLAGS, nvrtc().getVersion()))
    key = hashlib.sha256(facts.encode()).hexdigest()[:16]
    target = cache_folder() / f"{name}-{architecture}-{key}.cubin"
    if target.is_file():
        return target.read_bytes()
    code, _ = compile_program(text, architecture)
    try:
        with moved_into_place(target) as partial:
            partial.write_bytes(code)
    except OSError:
        return code  # no place to keep it: compiled again by the next process
    return code
