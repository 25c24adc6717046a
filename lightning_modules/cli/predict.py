"""``dyc predict``: the most probable classes of image files, by a checkpoint or by what ``dyc export`` has written.

For an ONNX file, nothing is imported but NumPy, Pillow and onnxruntime. Without image files, the images are those of
the data set, and the command is one of Lightning's.
"""

import argparse
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from lightning_modules.cli.arguments import check_new_file
from lightning_modules.cli.imports import import_given
from lightning_modules.cli.predict_parser import (
    FORMATS,
    LOCAL,
    is_exported,
    is_onnx,
    is_program,
    of_a_data_set,
    predict_parser,
)
from lightning_modules.errors import ArgumentError

UNREAD = 3
"""The exit status if images have no class: they cannot be read, or their probabilities are not finite."""


def main(argv: Sequence[str]) -> int:
    """Run ``dyc predict ...``, and return the exit status; ``argv`` starts with the command's name."""
    if of_a_data_set(argv[1:]):
        from lightning_modules.cli import training

        return UNREAD if training.run(argv).predictions.not_finite else 0
    options = predict_parser().parse_intermixed_args(argv[1:])
    if options.ckpt_path is not None:
        options.images = [*([] if options.model is None else [options.model]), *options.images]
        options.model = options.ckpt_path
    _check_output(options)
    if not options.images:
        need = "MODEL and IMAGES: folders, image files, lists of paths (.txt), or - for a list on stdin"
        if options.model is not None and not is_exported(options.model):
            need += f"; or `dyc predict --ckpt_path {options.model}` for the test split of its data set"
        raise ArgumentError("images", "none", need)
    return _predict(options)


def _check_output(options: argparse.Namespace) -> None:
    """Settle the format, and raise unless the output can be made."""
    check_new_file("--output", options.output)
    if options.format is None:
        options.format = "csv" if options.output is None else options.output.suffix.lower().removeprefix(".")
    if options.format not in FORMATS:
        need = f"a name that ends with .{' or .'.join(FORMATS)}, or --format"
        raise ArgumentError("--output", repr(str(options.output)), need)


def _predict(options: argparse.Namespace) -> int:
    # With NumPy and Pillow, which --help need not wait for.
    from lightning_modules.data.preparation import complete_preparation
    from lightning_modules.prediction.inputs import named_images
    from lightning_modules.prediction.pipeline import predict_images
    from lightning_modules.prediction.progress import Progress

    paths = named_images(options.images)
    network = _network(options)
    given = {name: getattr(options, name) for name in ("input_size", "mean", "std", "interpolation", "crop_pct")}
    given["class_names"] = _class_names(options.class_names)
    prepare = complete_preparation(network.preparation, given, network.path)
    network.check_size(prepare.input_size)
    batch_size = _batch_size(options.batch_size, network)
    with _ended_by_sigterm(), _opened(options.output) as file:
        progress = Progress(len(paths), line=not file.isatty())
        try:
            with closing(predict_images(paths, prepare, network, batch_size, options.workers)) as batches:
                names_of = partial(_names, prepare.class_names, path=network.path)
                without = _write(batches, file, options, names_of, progress)
        except BrokenPipeError:  # whoever read the rows has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except BaseException:
            if progress.done:
                progress.say(f"stopped; {progress.done:,} of {len(paths):,} images are written")
            raise
    text = f"{progress.done:,} images in {progress.seconds:.1f} s, {progress.rate:,.1f} images/s"
    text += "".join(f"; {count:,} of them {why}" for why, count in without.items())
    progress.say(text if options.output is None else f"{text}; predictions: {options.output}")
    return UNREAD if without else 0


def _write(
    batches: Iterable[Sequence[Any]],
    file: TextIO,
    options: argparse.Namespace,
    names_of: Callable[[int], list[str]],
    progress: Any,
) -> Counter[str]:
    """Write the rows, and count the images without a class by the reason.

    Args:
        batches: What was predicted.
        file: Where to.
        options: Their format and the number of classes per image.
        names_of: Returns the names of so many classes.
        progress: Is told of every batch and of images that cannot be read.
    """
    from lightning_modules.prediction.table import NOT_FINITE, ROWS, rank

    table, without = None, Counter()
    for batch in batches:
        if table is None:  # all but the last batch have an image that was read
            names = names_of(next((len(each.probabilities) for each in batch if not each.error), 0))
            table = ROWS[options.format](file, min(options.top, len(names) or options.top))
        for path, probabilities, error in batch:
            ranked = None if error else rank(probabilities, names, options.top)
            table.write(path, ranked, error or NOT_FINITE)
            if error:
                progress.say(f"not read: {path}: {error}")
            if ranked is None:
                without["could not be read" if error else f"have no class, as {NOT_FINITE}"] += 1
        file.flush()
        progress.advance(len(batch))
    return without


def _network(options: argparse.Namespace) -> Any:
    """Load the network; it is called with a batch, and knows ``path``, ``preparation`` and ``batch_size``."""
    if is_onnx(options.model):
        from lightning_modules.prediction.onnx_network import OnnxNetwork

        return OnnxNetwork(options.model, options.threads, options.device or "cpu")
    if is_program(options.model):
        from lightning_modules.prediction.program_network import ProgramNetwork

        return ProgramNetwork(options.model, options.threads, options.device)
    imported = import_given(options)
    if is_exported(options.model):
        from lightning_modules.prediction.folder_network import FolderNetwork

        return FolderNetwork(options.model.removeprefix(LOCAL), options.threads, options.device)
    from lightning_modules.prediction.checkpoint_network import CheckpointNetwork

    return CheckpointNetwork(options.model, options.runs, options.name, imported, options.threads, options.device)


def _batch_size(given: int | None, network: Any) -> int:
    fixed = network.batch_size
    if None not in (given, fixed) and given != fixed:
        raise ArgumentError("--batch_size", given, f"{fixed}, for which {network.path!r} was made")
    return fixed or given or 32


def _class_names(path: Path | None) -> list[str] | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ArgumentError("--class_names", f"{str(path)!r} ({error})", "a text file, a name per line") from error


def _names(known: Sequence[str] | None, count: int, path: str) -> list[str]:
    """Return the names of so many classes, or their numbers; a count of 0 means that no image could be read."""
    if known is not None and count and len(known) != count:
        raise ArgumentError("class_names", f"{len(known)} names", f"{count}, the outputs of {path!r}")
    return list(known or map(str, range(count)))


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    """Open the output, which may name files that are not UTF-8, as Linux allows."""
    if path is None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="surrogateescape")
        yield sys.stdout
        return
    with path.open("x", encoding="utf-8", errors="surrogateescape", newline="") as file:
        try:
            yield file
        finally:
            if file.tell() == 0:  # the first batch failed; a next try finds no file in its way
                path.unlink()


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, which queues send, end the process by its exit status, so that it can say what is written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
