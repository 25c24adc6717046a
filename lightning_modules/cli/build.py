"""``dyc build``: compile ahead of time what a backend would compile at its first use."""

import time
from collections.abc import Sequence

from lightning_modules.cli.arguments import Parser
from ops import ArgumentError, backends, check_backend_name, prepare_backend

DEFAULT = "cpp"


def parser() -> Parser:
    """Return the parser of the command."""
    result = Parser(
        prog="dyc build",
        description="Compile the kernels of a backend now instead of at its first use, as when a container image or a "
        "cluster's shared folder is prepared. They are kept in DYC_CACHE, else in the user's cache folder, for this "
        "processor, compiler and PyTorch: build on the kind of machine that will run them.",
        allow_abbrev=False,
    )
    names = ", ".join(status.name for status in backends())
    result.add_argument("backends", nargs="*", metavar="BACKEND", help=f"{names} (default: {DEFAULT})")
    return result


def main(argv: Sequence[str]) -> None:
    """Run ``dyc build ...``; ``argv`` starts with the command's name."""
    names = parser().parse_args(argv[1:]).backends or [DEFAULT]
    for name in names:
        if check_backend_name(name, argument="BACKEND") == "auto":
            known = ", ".join(repr(status.name) for status in backends())
            raise ArgumentError("BACKEND", "'auto'", f"one of {known}")
    for name in names:
        start = time.perf_counter()
        prepare_backend(name)
        print(f"{name}: ready, {time.perf_counter() - start:.1f} s")
