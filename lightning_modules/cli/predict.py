"""``dyc predict``: the classes of image files or of their pixels, by a checkpoint or by what ``dyc export`` wrote.

For an ONNX file, nothing is imported but NumPy, Pillow and onnxruntime. Without image files, the images are those of
the data set, and the command is one of Lightning's.
"""

import argparse
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from lightning_modules.cli.arguments import check_new_file
from lightning_modules.cli.imports import import_given
from lightning_modules.cli.predict_parser import (
    FORMATS,
    LOCAL,
    MASKS,
    SHARES,
    TOP,
    is_exported,
    is_onnx,
    is_program,
    of_a_data_set,
    predict_parser,
)
from lightning_modules.disk import naming
from lightning_modules.errors import ArgumentError

UNREAD = 3
"""The exit status if images have no class: they cannot be read, or what the network computes is not finite."""

LARGEST_BATCH, PIXELS = 32, 2**20
"""Images per batch, and pixels of those of a batch that is segmented, as each pixel has logits of its own."""


WHOLE = {"crop_mode": "squash", "crop_pct": 1.0}
"""How images are prepared for segmentation, whatever the file says: each pixel of theirs gets a class."""


def main(argv: Sequence[str]) -> int:
    """Run ``dyc predict ...``, and return the exit status; ``argv`` starts with the command's name."""
    if of_a_data_set(argv[1:]):
        from lightning_modules.cli import training

        return UNREAD if training.run(argv).predictions.not_finite else 0
    options = predict_parser().parse_intermixed_args(argv[1:])
    if options.ckpt_path is not None:
        options.images = [*([] if options.model is None else [options.model]), *options.images]
        options.model = options.ckpt_path
    there = options.output is not None and options.output.is_dir()
    check_new_file("--output", options.output, "folder" if there else "file")
    if not options.images:
        need = "MODEL and IMAGES: folders, image files, lists of paths (.txt), or - for a list on stdin"
        if options.model is not None and not is_exported(options.model):
            need += f"; or `dyc predict --ckpt_path {options.model}` for the test split of its data set"
        raise ArgumentError("images", "none", need)
    return _predict(options)


def _settle_output(options: argparse.Namespace, segments: bool) -> None:
    """Settle place and format of what is written, and raise unless it can be made."""
    end = "" if options.output is None else options.output.suffix.lower().removeprefix(".")
    if segments:
        for name in ("top", "crop_pct"):
            if getattr(options, name) is not None:
                raise ArgumentError(f"--{name}", sentence="has no meaning for a network that classifies every pixel")
        if end in FORMATS:
            need = f"a folder for the masks, with {SHARES}.csv or, by --format, {SHARES}.jsonl in it"
            raise ArgumentError("--output", repr(str(options.output)), need)
        options.output, options.format = options.output or Path(MASKS), options.format or FORMATS[0]
        check_new_file("--output", options.output, "folder")
        return
    options.top = options.top or TOP
    if options.format is None:
        options.format = end if options.output is not None else FORMATS[0]
    if options.format not in FORMATS:
        need = f"a name that ends with .{' or .'.join(FORMATS)}, or --format"
        raise ArgumentError("--output", repr(str(options.output)), need)
    check_new_file("--output", options.output)


def _predict(options: argparse.Namespace) -> int:
    # With NumPy and Pillow, which --help need not wait for.
    from lightning_modules.data.preparation import complete_preparation
    from lightning_modules.prediction.inputs import named_images
    from lightning_modules.prediction.masks import MaskFolder, segmented
    from lightning_modules.prediction.pipeline import predict_images, probabilities
    from lightning_modules.prediction.progress import Progress
    from lightning_modules.prediction.table import ClassTable

    paths = named_images(options.images)
    network = _network(options)
    segments = network.segments or "palette" in network.preparation
    _settle_output(options, segments)
    given = {name: getattr(options, name) for name in ("input_size", "mean", "std", "interpolation", "crop_pct")}
    given |= {"class_names": _class_names(options.class_names), "resize": True if options.input_size else None}
    found = {**network.preparation, **(WHOLE if segments else {})}
    prepare = complete_preparation(found, given, network.path)
    network.check_size(prepare.input_size)
    batch_size = _batch_size(options.batch_size, network, prepare if segments else None)
    names_of = partial(_names, prepare.class_names, path=network.path)

    def run(images: Any) -> Any:
        return (segmented if segments else probabilities)(network(images), len(images))

    with _ended_by_sigterm(), (_folder if segments else _opened)(options.output, options.format) as file:
        if segments:
            written = MaskFolder(options.output, file, options.format, paths, prepare.palette or (), names_of)
        else:
            written = ClassTable(file, options.format, options.top, names_of)
        progress = Progress(len(paths), line=not file.isatty())
        try:
            with closing(predict_images(paths, prepare, run, batch_size, options.workers)) as batches:
                without = _write(batches, written, progress)
        except BrokenPipeError:  # whoever read the rows has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except BaseException:
            if progress.done:
                progress.say(f"stopped; {progress.done:,} of {len(paths):,} images are written")
            raise
    text = f"{progress.done:,} images in {progress.seconds:.1f} s, {progress.rate:,.1f} images/s"
    text += "".join(f"; {count:,} of them {why}" for why, count in without.items())
    what = "masks" if segments else "predictions"
    progress.say(text if options.output is None else f"{text}; {what}: {options.output}")
    return UNREAD if without else 0


def _write(batches: Iterable[Sequence[Any]], written: Any, progress: Any) -> Counter[str]:
    """Write what was found for each image, and count the images without a class by the reason.

    Args:
        batches: What was found.
        written: Where to, a ``ClassTable`` or ``MaskFolder``.
        progress: Is told of every batch and of images that cannot be read.
    """
    without, begun = Counter(), False
    for batch in batches:
        if not begun:  # all but the last batch have an image that was read
            written.begin(next((image.found for image in batch if not image.error), None))
            begun = True
        for image in batch:
            if image.error:
                progress.say(f"not read: {image.path}: {image.error}")
            if not written.write(image):
                without["could not be read" if image.error else written.lacks] += 1
        written.flush()
        progress.advance(len(batch))
    return without


def _network(options: argparse.Namespace) -> Any:
    """Load the network; called with a batch, it knows ``path``, ``preparation``, ``batch_size`` and ``segments``."""
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


def _batch_size(given: int | None, network: Any, prepare: Any) -> int:
    """Return the images per batch; ``prepare`` says how they are prepared for segmentation, and is None otherwise."""
    fixed = network.batch_size
    if None not in (given, fixed) and given != fixed:
        raise ArgumentError("--batch_size", given, f"{fixed}, for which {network.path!r} was made")
    usual = LARGEST_BATCH
    if prepare is not None:
        _, height, width = prepare.input_size
        usual = max(1, min(usual, PIXELS // (height * width))) if prepare.resize else 1
    return fixed or given or usual


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
def _opened(path: Path | None, format: str) -> Iterator[TextIO]:
    """Open the output, which may name files that are not UTF-8, as Linux allows."""
    if path is None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="surrogateescape")
        yield sys.stdout
        return
    with naming(path):
        file = path.open("x", encoding="utf-8", errors="surrogateescape", newline="")
        try:
            with file:
                yield file
        finally:
            if path.stat().st_size == 0:  # the first batch failed; a next try finds no file in its way
                path.unlink()


@contextmanager
def _folder(path: Path, format: str) -> Iterator[TextIO]:
    """Make the folder of masks, unless it is there and empty, and open the table in it."""
    made = not path.exists()
    path.mkdir(exist_ok=True)
    try:
        with _opened(path / f"{SHARES}.{format}", format) as file:
            yield file
    finally:
        if made:
            with suppress(OSError):  # which is left where something was written
                path.rmdir()


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
