"""Stands for the command ``dyc`` where a test starts processes: ``python forked_dyc.py fit ...``.

Importing everything takes ten seconds of a processor. This process imports nothing: it asks the server of
``support/forked_fits.py`` for a fork that has the arguments, folder, environment and streams of this process. The fork
gets the signals that come here, is killed where this process is, and this process ends as its fork does. With
``torchrun`` as first argument the fork is torchrun, with ``-c`` it is Python.
"""

import json
import os
import signal
import socket
import sys
from contextlib import suppress

ADDRESS = "DYC_TEST_FORKS"
"""The variable with the path of the server's socket."""


def main() -> int:
    client = socket.socket(socket.AF_UNIX)
    client.connect(os.environ[ADDRESS])
    question = {"pid": os.getpid(), "argv": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ)}
    text = json.dumps(question).encode()
    socket.send_fds(client, [len(text).to_bytes(4, "big")], [0, 1, 2])
    client.sendall(text)
    answers = client.makefile()
    fork = int(answers.readline())

    def pass_on(number, frame):
        with suppress(ProcessLookupError):
            os.kill(fork, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, pass_on)
    status = int(answers.readline())
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


if __name__ == "__main__":
    sys.exit(main())
