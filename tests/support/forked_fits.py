"""Trainings by ``dyc fit``, each a real process, forked from one that has imported everything: that takes seconds."""

import json
import os
import subprocess
import sys


class Fits:
    """Starts processes of ``dyc fit``; as a context manager, it ends those that still run.

    Example:
        >>> with Fits() as fits:  # doctest: +SKIP
        ...     process = fits.start(["--model.model=test_resnet"], Path("runs"))
        ...     os.kill(process, 9)
        ...     fits.wait(process)
        -9
    """

    def __enter__(self):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        pipe = subprocess.PIPE
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=pipe, stdout=pipe, text=True, env=environment, start_new_session=True
        )
        self._running = set()
        return self

    def _ask(self, **question):
        print(json.dumps(question), file=self._server.stdin, flush=True)
        return json.loads(self._server.stdout.readline())

    def start(self, words, folder, log="log.txt", **environment) -> int:
        """Begin a training in a folder, and return the number of its process; what it says is added to a file."""
        process = self._ask(words=["fit", *map(str, words)], folder=str(folder), log=log, environment=environment)
        self._running.add(process)
        return process

    def wait(self, process: int) -> int:
        """Wait for the end of a process, and return its exit status; -9 after SIGKILL, and so on."""
        status = self._ask(wait=process)
        self._running.discard(process)
        return status

    def run(self, words, folder, **options) -> int:
        """Begin a training, and wait for its end."""
        return self.wait(self.start(words, folder, **options))

    def __exit__(self, *_):
        for process in self._running:
            os.kill(process, 9)
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


def _become(question: dict) -> None:
    """Make this process one that runs the command."""
    os.setsid()
    os.chdir(question["folder"])
    log = os.open(question["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(log, number)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.environ.update(question["environment"])
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    sys.argv = ["dyc", *question["words"]]


def serve() -> None:
    """Answer questions until there are no more."""
    import lightning_modules.cli.training  # noqa: F401
    from lightning_modules.cli import main

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        question = json.loads(line)
        if "wait" in question:
            answer = os.waitstatus_to_exitcode(os.waitpid(question["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                answers.close()
                _become(question)
                sys.exit(main())
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve()
