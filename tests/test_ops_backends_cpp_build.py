"""What is compiled at first use: a first compilation, its second use, and what is said where it cannot be kept."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from support.processes import HANGS, run

import ops
from ops.backends import cache
from ops.backends.cache import is_whole, seal
from ops.backends.cpp import build as cpp_build
from ops.backends.cpp.backend import CPP, load
from ops.backends.cpp.build import build, build_all, compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="got no C++ compiler; need g++ or clang++ on PATH")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Let two libraries of a few lines, which share a source, stand for the real ones; return the compiler's log."""
    sources, log = tmp_path / "csrc", tmp_path / "log"
    sources.mkdir()
    (sources / "shared.h").write_text("int shared();")
    (sources / "shared.cpp").write_text('#include "shared.h"\nint shared() { return 40; }')
    for name, number in (("one", 1), ("two", 2)):
        text = f'#include "shared.h"\nextern "C" int {name}() {{ return shared() + {number}; }}'
        (sources / f"{name}.cpp").write_text(text)
    logging = tmp_path / "logging-c++"
    logging.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {shutil.which(compiler()[0])} "$@"\n')
    logging.chmod(0o755)
    monkeypatch.setattr(cpp_build, "SOURCES", sources)
    monkeypatch.setattr(cpp_build, "LIBRARIES", {"one": ("one", "shared"), "two": ("two", "shared")})
    monkeypatch.setattr(cpp_build, "SECONDS", {"one": 5, "two": 4, "shared": 3})
    monkeypatch.setattr(cpp_build, "_cores", lambda: 2)
    monkeypatch.setenv("CXX", str(logging))
    monkeypatch.setenv("DYC_CACHE", str(tmp_path / "not" / "there"))
    return log


COMPILED = (
    r"dyc: compiling the C\+\+ kernels for this processor, once: about 6 s \(kept in {}\) \.\.\.\n"
    r"dyc: compiled in \d+ s\n"
)


def test_a_first_compilation_is_kept_and_a_second_one_does_nothing(small, capsys):
    paths = build_all()
    folder = Path(os.environ["DYC_CACHE"])
    assert re.fullmatch(COMPILED.format(folder), capsys.readouterr().err)
    assert [getattr(ctypes.CDLL(path), name)() for path, name in zip(paths, ("one", "two"))] == [41, 42]
    assert sorted(path.name.split("-")[0] for path in folder.iterdir()) == [".lock", "one", "two"]
    assert len(small.read_text().splitlines()) == 5  # three sources and two libraries
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert build("two", "one") == paths[::-1]
    assert capsys.readouterr().err == ""
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_changed_source_is_compiled_again(small):
    one, two = build_all()
    source = cpp_build.SOURCES / "two.cpp"
    source.write_text(source.read_text() + "\n")
    again = build_all()
    assert again[0] == one
    assert again[1] != two
    header = cpp_build.SOURCES / "shared.h"
    header.write_text(header.read_text() + "\n")
    assert not {*build_all()} & {one, *again}


def test_of_two_at_the_same_moment_one_compiles(small, capsys):
    threads = [threading.Thread(target=build_all) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capsys.readouterr().err.count("dyc: compiling") == 1
    assert len(small.read_text().splitlines()) == 5


AT_ONCE = """
import ctypes, os, pathlib, sys
from ops.backends.cpp import build
build.SOURCES, build._cores = pathlib.Path(sys.argv[1]), lambda: 2
build.LIBRARIES, build.SECONDS = {"one": ("one", "shared"), "two": ("two", "shared")}, {"one": 5, "two": 4, "shared": 3}
print("ready", flush=True)
sys.stdin.readline()
one, two = build.build_all()
print(ctypes.CDLL(one).one(), ctypes.CDLL(two).two())
"""


@pytest.mark.exhaustive  # processes take seconds to start
def test_of_four_processes_one_compiles_and_all_load_whole_files(small):
    command = [sys.executable, "-c", AT_ONCE, str(cpp_build.SOURCES)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(4)]
    try:
        assert [each.stdout.readline() for each in processes] == ["ready\n"] * 4
        for each in processes:
            each.stdin.write("\n")
            each.stdin.flush()
        said = [each.communicate(timeout=HANGS) for each in processes]
    finally:
        for each in processes:
            each.kill()
    assert [(each.returncode, out) for each, (out, _) in zip(processes, said)] == [(0, "41 42\n")] * 4
    assert len(small.read_text().splitlines()) == 5
    assert sum("dyc: compiling" in err for _, err in said) == 1
    assert sorted(path.suffix for path in Path(os.environ["DYC_CACHE"]).iterdir()) == ["", ".so", ".so"]


HOLDER = """
import fcntl, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True)
file = open(folder / ".lock", "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


def test_a_process_that_dies_while_it_compiles_holds_up_nobody(small, capsys):
    command = [sys.executable, "-S", "-c", HOLDER, os.environ["DYC_CACHE"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            thread = threading.Thread(target=build_all, daemon=True)
            thread.start()
            said, end = "", time.monotonic() + HANGS
            while "waiting" not in said and time.monotonic() < end:
                said += capsys.readouterr().err
                time.sleep(0.01)
            assert said == "dyc: waiting for another process that compiles the C++ kernels\n"
            assert not small.exists()
        finally:
            holder.kill()
    thread.join(HANGS)
    assert re.fullmatch(COMPILED.format(os.environ["DYC_CACHE"]), capsys.readouterr().err)


def test_a_process_that_hangs_while_it_compiles_is_not_waited_for_without_end(small, monkeypatch):
    monkeypatch.setattr(cache, "LONGEST_WAIT", 0.2)
    lock = Path(os.environ["DYC_CACHE"]) / ".lock"
    held = cache.locked(lock.parent, lambda: None)
    with held, pytest.raises(ops.BackendUnavailable, match=rf"held {lock} for minutes; need its end \(fuser names it"):
        build_all()
    assert len(build_all()) == 2


def test_another_process_looks_in_the_same_place():
    program = "from ops.backends.cpp.build import _target, compiler; print(_target('convolutions', compiler()))"
    command, environment = [sys.executable, "-c", program], {**os.environ, "PYTHONHASHSEED": "1"}
    done = run(command, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{cpp_build._target('convolutions', compiler())}\n"


def test_the_estimate_knows_every_source_and_leaves_none_out():
    sources = {source for names in cpp_build.LIBRARIES.values() for source in names}
    assert sources == {path.stem for path in cpp_build.SOURCES.glob("*.cpp")} == {*cpp_build.SECONDS}


@pytest.fixture
def unprepared(backend_registry, monkeypatch):
    """Let the C++ backend prepare itself again, here and now, where ``DYC_CACHE`` says; return what it says of that."""
    ops.depthwise_conv2d(*PAIR, backend="cpp")
    kept = build("convolutions")

    def prepare(folder):
        monkeypatch.setenv("DYC_CACHE", str(folder))
        convolutions = ops.Preparation(partial(load, "convolutions"))
        operators = {n: replace(i, prepare=convolutions) for n, i in CPP.operators.items()}
        ops.register_backend(replace(CPP, operators=operators), replace=True)
        with pytest.warns(UserWarning, match="backend 'cpp' is not available") as warned:
            y = ops.depthwise_conv2d(*PAIR)
        torch.testing.assert_close(y, ops.depthwise_conv2d(*PAIR, backend="eager"))  # others go on
        with pytest.raises(ops.BackendUnavailable) as error:
            ops.depthwise_conv2d(*PAIR, backend="cpp")
        assert str(warned[0].message).endswith(str(error.value).split(": ", 1)[1])
        return str(error.value)

    return prepare, kept


PAIR = torch.randn(1, 2, 5, 5), torch.randn(1, 2, 3, 3)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],  # loading it would end the process by SIGBUS
        lambda whole: whole[:-1],
        lambda whole: bytes(len(whole)),
        lambda whole: whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:],
    ],
)
def test_a_damaged_file_is_made_anew(small, capsys, damage):
    one, two = build_all()
    whole = two.read_bytes()
    two.write_bytes(damage(whole))
    capsys.readouterr()
    assert build_all() == [one, two]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"dyc: {two} is damaged, and made anew"
    assert ctypes.CDLL(two).two() == 42
    assert is_whole(two)
    assert len(small.read_text().splitlines()) == 5 + 3  # two sources and a library
    assert len(list(two.parent.glob("*.so"))) == 2


def test_a_whole_file_that_cannot_be_loaded_is_named(unprepared, tmp_path):
    prepare, (kept,) = unprepared
    (tmp_path / kept.name).write_bytes(b"made for another processor")
    seal(tmp_path / kept.name)
    said = prepare(tmp_path)
    assert "got a file that cannot be loaded" in said
    assert f"remove {tmp_path / kept.name}" in said


@pytest.mark.parametrize("obstacle", ["read_only", "a_file"])
def test_a_folder_that_cannot_be_written_to_is_named(unprepared, tmp_path, obstacle):
    folder = tmp_path / "kept"
    if obstacle == "a_file":
        folder.write_text("in the way")
    else:
        folder.mkdir(0o500)
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write everywhere")
    said = unprepared[0](folder)
    assert "got no place to keep the compiled file" in said
    assert str(folder) in said
    assert "need a writable DYC_CACHE" in said


def test_a_compiler_that_fails_is_quoted(unprepared, tmp_path, monkeypatch):
    broken = tmp_path / "broken-c++"
    broken.write_text("#!/bin/sh\necho 'internal trouble' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert "internal trouble" in unprepared[0](tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "broken-c++"]


@pytest.mark.parametrize("said", ["no space", "nonsense"])
def test_a_full_disk_is_not_called_a_broken_compiler(unprepared, tmp_path, monkeypatch, said):
    broken = tmp_path / "full-c++"
    text = f"{tmp_path}/x.o: No space left on device" if said == "no space" else "assertion fail elf.c:3108"
    broken.write_text(f"#!/bin/sh\necho '{text}' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    if said == "nonsense":
        full = shutil.disk_usage(tmp_path)._replace(free=3 * 2**20)
        monkeypatch.setattr(cpp_build.shutil, "disk_usage", lambda folder: full)
    found = unprepared[0](tmp_path)
    assert "got no place to keep the compiled file ([Errno 28] No space left on device" in found
    assert f"'{tmp_path}'); need free space there" in found
    assert "\n" not in found
    assert not list(tmp_path.glob("*.so"))


NO_COMPILER = """
import torch, ops
x, w = torch.randn(1, 2, 5, 5), torch.randn(1, 2, 3, 3)
print(ops.depthwise_conv2d(x, w).shape)
for name in ("cpp", "compile"):
    try:
        ops.depthwise_conv2d(x, w, backend=name)
        print("ran")
    except ops.BackendUnavailable as error:
        print(error)
"""


def test_a_machine_without_a_compiler_says_what_to_install():
    environment = {**os.environ, "CXX": "no-such-compiler"}
    command = [sys.executable, "-c", NO_COMPILER]
    done = run(command, env=environment)
    assert done.returncode == 0, done.stderr
    others, cpp, compiled = done.stdout.splitlines()
    assert others == "torch.Size([1, 2, 3, 3])"
    assert "got CXX='no-such-compiler', which is not there; need g++ or clang++ on PATH" in cpp
    assert "got no no-such-compiler; Inductor needs a C++ compiler" in compiled
