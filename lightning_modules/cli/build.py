"""``dyc build``: compile ahead of time what a backend would compile at its first use."""

import time
from collections.abc import Sequence

from lightning_modules.cli.arguments import Parser


def parser() -> Parser:
    """Return the parser of the command."""
    result = Parser(
        prog="dyc build",
        description="Compile the kernels of a backend now instead of at its first use, as when a container image or a "
        "cluster's shared folder is prepared. They are kept in DYC_CACHE, else in the user's cache folder, for this "
        "processor, compiler and PyTorch: build on the kind of machine that will run them. Other "
        "backends compile for each shape or device, at their first use.",
    )
    result.add_argument(
        "backends", nargs="*", metavar="BACKEND", help="such as cpp (default: all that can be compiled ahead)"
    )
    return result


def _builders() -> list[str]:
    from ops import backends

    return [status.name for status in backends() if status.builds]


def main(argv: Sequence[str]) -> None:
    """Run ``dyc build ...``; ``argv`` starts with the command's name."""
    chosen = parser().parse_args(argv[1:]).backends
    from ops import ArgumentError, BackendUnavailable, backends, check_backend_name, prepare_backend

    known = _builders()
    names = chosen or known
    for name in names:
        if check_backend_name(name, argument="BACKEND") not in known:
            what = f"{name!r} has nothing to compile ahead of its first use; choose among {', '.join(map(repr, known))}"
            raise ArgumentError("BACKEND", sentence=what)
    for status in backends():
        if status.name in names and status.reasons:
            raise BackendUnavailable(f"backend {status.name!r} cannot be built: " + "; ".join(status.reasons))
    for name in names:
        start = time.perf_counter()
        prepare_backend(name)
        print(f"{name}: ready, {time.perf_counter() - start:.1f} s")
