"""Every CUDA kernel compiles for every architecture, and none keeps in memory what belongs into registers."""

import re
import shutil
from itertools import product

import pytest
from fixtures.models import marked
from support.processes import run

from ops.backends.cupy import kernels as cuda_kernels
from ops.backends.cupy import nvrtc
from ops.errors import BackendUnavailable

ARCHITECTURES = ("sm_75", "sm_80", "sm_90")


def nvrtc_missing() -> str | None:
    try:
        nvrtc.nvrtc()
    except BackendUnavailable as error:
        return str(error)
    return None


NVRTC_MISSING, NVCC = nvrtc_missing(), shutil.which("nvcc")
pytestmark = pytest.mark.skipif(
    NVRTC_MISSING is not None and NVCC is None, reason=f"{NVRTC_MISSING}; got no nvcc on PATH either"
)


def notes(text: str, architecture: str, folder) -> str:
    """Compile, and return what the compiler says of each kernel."""
    if NVRTC_MISSING is None:
        code, log = nvrtc.compile_program(text, architecture, "--ptxas-options=-v")
        assert code.startswith(b"\x7fELF")
        return log
    (folder / "kernels.cu").write_text(text)
    command = [NVCC, *nvrtc.FLAGS, f"-arch={architecture}", "-cubin", "-Xptxas", "-v", "kernels.cu"]
    done = run(command, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def resources(log: str) -> dict[str, tuple[int, int, int]]:
    """Return (registers, bytes of spill stores, bytes of spill loads) by kernel."""
    entry = re.compile(
        r"entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers", re.DOTALL
    )
    return {name: (int(used), int(stores), int(loads)) for name, stores, loads, used in entry.findall(log)}


def test_notes_of_the_compiler_are_read():
    log = """ptxas info    : Compiling entry function 'first' for 'sm_90'
ptxas info    : Function properties for first
    8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers
ptxas info    : Compiling entry function 'second' for 'sm_90'
ptxas info    : Function properties for second
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 32 registers"""
    assert resources(log) == {"first": (40, 12, 16), "second": (32, 0, 0)}


# Each takes seconds: by default one storage on one architecture, then each of both once.
USUAL, EXHAUSTIVE = [("bfloat", "sm_90")], [("half", "sm_80"), ("float", "sm_75")]


@pytest.mark.parametrize(
    ("storage", "architecture"), marked(product(cuda_kernels.BYTES, ARCHITECTURES), USUAL, EXHAUSTIVE)
)
def test_every_kernel_compiles_and_none_spills(storage, architecture, tmp_path):
    kernels = cuda_kernels.every_kernel(storage)
    found = resources(notes(cuda_kernels.program(kernels), architecture, tmp_path))
    assert set(found) == {kernel.name for kernel in kernels}
    assert {name: numbers for name, numbers in found.items() if numbers[1] or numbers[2]} == {}
    assert all(0 < used <= 65536 // (k.per_sm * cuda_kernels.THREADS) for k in kernels for used, *_ in [found[k.name]])


@pytest.mark.skipif(NVRTC_MISSING is not None, reason=str(NVRTC_MISSING))
class TestCompiled:
    KERNEL = cuda_kernels.sum_kernel("float")

    @pytest.fixture(autouse=True)
    def _cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("DYC_CACHE", str(tmp_path))

    def test_a_program_is_compiled_once(self, tmp_path, monkeypatch):
        first = nvrtc.compiled(self.KERNEL.name, cuda_kernels.program([self.KERNEL]), "sm_90")
        assert [path.suffix for path in tmp_path.iterdir()] == [".cubin"]
        monkeypatch.setattr(nvrtc, "compile_program", None)
        assert nvrtc.compiled(self.KERNEL.name, cuda_kernels.program([self.KERNEL]), "sm_90") == first

    def test_each_architecture_has_a_file_of_its_own(self, tmp_path):
        for architecture in ("sm_80", "sm_90"):
            nvrtc.compiled(self.KERNEL.name, cuda_kernels.program([self.KERNEL]), architecture)
        assert len(list(tmp_path.iterdir())) == 2

    def test_errors_of_the_compiler_are_quoted(self, tmp_path):
        with pytest.raises(BackendUnavailable, match=r"(?s)error of NVRTC for sm_90.*nonsense"):
            nvrtc.compiled("broken", "nonsense", "sm_90")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_written_is_done_without(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("DYC_CACHE", str(tmp_path / "file"))
        assert nvrtc.compiled(self.KERNEL.name, cuda_kernels.program([self.KERNEL]), "sm_90").startswith(b"\x7fELF")

    def test_a_device_newer_than_the_compiler_gets_text_for_its_driver(self):
        assert nvrtc.architecture_for((9, 0)) == "sm_90"
        newer = nvrtc.architecture_for((99, 9))
        assert newer.startswith("compute_")
        code, _ = nvrtc.compile_program(cuda_kernels.program([self.KERNEL]), newer)
        assert b".entry add_parts_float" in code

    def test_a_device_older_than_the_compiler_is_refused(self):
        with pytest.raises(BackendUnavailable, match=r"compute capability 3\.5; need \d+\.\d or newer"):
            nvrtc.architecture_for((3, 5))


def test_kernels_have_names_of_their_own():
    names = [kernel.name for storage in cuda_kernels.BYTES for kernel in cuda_kernels.every_kernel(storage)]
    assert len(names) == len(set(names))
