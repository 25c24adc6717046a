"""Commands of ``dyc``, each a real process, forked from one that has imported everything: that takes seconds."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from select import select
from threading import Thread

COMMAND = [sys.executable, str(Path(__file__).with_name("forked_dyc.py"))]
"""What stands for ``dyc`` in a process that has the environment of :class:`Fits`."""

ADDRESS = "DYC_TEST_FORKS"
"""The variable by which forked_dyc.py, which imports nothing, finds the server."""


class Fits:
    """Starts processes of ``dyc``; as a context manager, it ends those that still run.

    Example:
        >>> with Fits() as fits:  # doctest: +SKIP
        ...     process = fits.start(["--model.model=test_resnet"], Path("runs"))
        ...     os.kill(fits.fork_of(process), 9)
        ...     fits.wait(process)
        -9
    """

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()  # in the shortest path there is, as a socket needs it
        address = f"{self._folder.name}/socket"
        self.environment = {ADDRESS: address, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self._server = subprocess.Popen(
            [sys.executable, __file__, address],
            stdin=pipe,
            stdout=pipe,
            text=True,
            env={**os.environ, **self.environment},
            start_new_session=True,
        )
        self._running = {}
        assert self._server.stdout.readline() == "ready\n"
        return self

    def fork_of(self, process: int) -> int:
        """Return the number of the process that does the work of one that ``COMMAND`` started."""
        return int((Path(self._folder.name) / str(process)).read_text())

    def start(self, words, folder, log="log.txt", **environment) -> int:
        """Begin a training in a folder, and return the number of its process; what it says is added to a file."""
        with (Path(folder) / log).open("a") as file:
            process = subprocess.Popen(
                [*COMMAND, "fit", *map(str, words)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **self.environment, **environment},
            )
        self._running[process.pid] = process
        return process.pid

    def wait(self, process: int) -> int:
        """Wait for the end of a process, and return its exit status; -9 after SIGKILL, and so on."""
        return self._running.pop(process).wait()

    def run(self, words, folder, **options) -> int:
        """Begin a training, and wait for its end."""
        return self.wait(self.start(words, folder, **options))

    def __exit__(self, *_):
        for process in self._running.values():
            process.kill()
            process.wait()
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()
        self._folder.cleanup()


def _become(question: dict, streams: list[int]) -> None:
    """Make this process one that runs the command."""
    from lightning.fabric.utilities.rank_zero import _get_rank, rank_zero_only

    os.setsid()
    os.chdir(question["folder"])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(question["environment"])
    rank_zero_only.rank = _get_rank() or 0  # read when Lightning is imported, which was in the server
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    sys.argv = question["argv"]


def _run() -> int:
    if sys.argv[1] == "torchrun":
        from torch.distributed.run import main as torchrun

        torchrun(sys.argv[2:])
        return 0
    if sys.argv[1] == "-c":
        script = sys.argv.pop(2)
        sys.argv.pop(0)  # as Python leaves them: -c, and what follows the script
        exec(script, {"__name__": "__main__"})
        return 0
    from lightning_modules.command import main

    return main()


def _keep(client: socket.socket, folder: Path) -> int:
    """Fork once more for a client; return what the fork exits with, and in the process between tell the client."""
    head, streams, *_ = socket.recv_fds(client, 4, 3)
    text = b""
    while len(text) < int.from_bytes(head, "big"):
        text += client.recv(1 << 16)
    question = json.loads(text)
    fork = os.fork()
    if fork == 0:
        client.close()
        _become(question, streams)
        return _run()
    for stream in streams:
        os.close(stream)
    (folder / str(question["pid"])).write_text(str(fork))
    client.sendall(f"{fork}\n".encode())

    def end_with_the_client():
        client.recv(1)  # which says nothing more
        with suppress(ProcessLookupError):
            os.kill(fork, signal.SIGKILL)

    Thread(target=end_with_the_client, daemon=True).start()
    status = os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1])
    with suppress(OSError):
        client.sendall(f"{status}\n".encode())
    os._exit(0)


def serve(address: str) -> None:
    """Fork for every client, until whoever started this is gone."""
    import torch.distributed.run  # noqa: F401

    import lightning_modules.cli.training  # noqa: F401

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    gc.freeze()  # what is there already is not looked through again by each fork
    print("ready", flush=True)
    while sys.stdin not in select([listener, sys.stdin], [], [])[0]:
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            sys.exit(_keep(client, Path(address).parent))
        client.close()
        with suppress(ChildProcessError):  # there is none
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    serve(sys.argv[1])
