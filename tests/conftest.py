"""What all tests share; the fixtures of an area are in ``tests/fixtures``, plain functions in ``tests/support``.

A test file is named after what it tests: ``test_``, the path of the source file or folder with ``_`` for ``/``, and,
where that has several test files, a word or two more. ``test_ops_backends_cpp_build.py`` is about
``ops/backends/cpp/build.py``, and ``test_lightning_modules_data_shards.py`` about shards in ``lightning_modules/data``.
``tests/test_names_of_tests.py`` holds this, and lists the files that test the project as a whole.

``pytest -n 2 --dist worksteal`` (of pytest-xdist) runs two workers with one thread each, and takes less time.
"""

import fcntl
import os
import signal
import threading

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported, and for the processes that tests start
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["WANDB_MODE"] = "offline"  # whoever runs the tests, nothing leaves the machine
# A shell's background jobs ignore SIGINT, and so would the processes that tests start, and interrupt.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from ops import ArgumentError

pytest_plugins = tuple(f"fixtures.{area}" for area in ("operators", "models", "data", "segmentation", "processes"))


LONGEST = (
    "test_first_line_trains",
    "test_two_machines_train_one_run_and_go_on_when_a_process_is_killed",
    "test_a_training_that_was_killed_goes_on_and_ends_as_if_it_had_not",
    "test_all_backbones",
    "test_programs",
)
"""Take much longer than others: where one of them ends last, the other workers wait for it."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: getattr(item, "originalname", "") not in LONGEST)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    def make(name: str, build) -> Path:
        """Let ``build`` fill a folder of this name, once for all workers that run the tests together."""
        base = tmp_path_factory.getbasetemp()
        base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
        folder = base / name
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "made").exists():
                folder.mkdir(exist_ok=True)
                build(folder)
                (folder / "made").touch()
        return folder

    return make


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def raises():
    @contextmanager
    def expect(argument: str, got: str, need: str | None = None):
        """Expect an ArgumentError with these parts of its message; without ``need``, a sentence that holds ``got``."""
        with pytest.raises(ArgumentError) as error:
            yield
        assert isinstance(error.value, ValueError)
        assert error.value.argument == argument
        name, message = str(error.value).split(": ", 1)
        assert name == argument
        if need is None:
            assert "; need " not in message
            assert got in message
        else:
            before, after = message.split("; need ")
            assert before.startswith("got ")
            assert got in before
            assert need in after

    return expect
