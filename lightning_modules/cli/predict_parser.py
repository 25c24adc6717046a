"""The options of ``dyc predict`` for image files, and when the images are those of a data set instead."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from lightning_modules.cli.arguments import Parser, add_run, one_of, positive, whole
from lightning_modules.cli.imports import add_import

FORMATS = ("csv", "jsonl")

MASKS, SHARES = "masks", "shares"
"""Where masks are written by default, and the name of the table beside them, without its end."""

TOP = 5
"""Classes per image that are written by default."""

ONNX, PROGRAM = ".onnx", ".pt2"

LOCAL = "local-dir:"
"""What timm writes before the path of a folder of weights."""

NAMES = ("last", "best")
"""Checkpoints of the run ``--name``."""

LIGHTNING = {
    *("-c", "--config", "--print_config", "--model", "--data", "--trainer"),
    *("--seed_everything", "--return_predictions", "--weights_only"),
}
"""Options of Lightning's command, beside those with a dot in their names and those of W&B."""

SHARED = {"--ckpt_path", "--name", "--runs", "--import"}
"""Options of both: of the command for files, and of Lightning's."""


def predict_parser() -> Parser:
    """Return the parser of ``dyc predict``."""
    result = Parser(
        prog="dyc predict",
        usage="dyc predict MODEL IMAGES... [options]\n"
        "       dyc predict --ckpt_path last|best|FILE [options]     the test split of the checkpoint's data set",
        description="Name the most probable classes of images, or write masks with the class of each pixel, by a "
        "checkpoint or by what dyc export has written.",
        epilog="Exit status: 0; 2 for an error, such as a folder without images; 3 if some images could not be read, "
        "which are named on stderr, while the others are predicted. Without IMAGES, the options are those of "
        "`dyc test --help`, and the predictions are written into the folder of a run.",
    )
    result.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a checkpoint, or last or best of the run --name; an ONNX file, a .pt2 file or a folder of weights",
    )
    result.add_argument(
        "images",
        nargs="*",
        metavar="IMAGES",
        help="folders, image files, lists (.txt, a path per line), or - for a list on stdin",
    )
    result.add_argument("--ckpt_path", metavar="MODEL", help="MODEL; then all other arguments are IMAGES")
    add_run(result)
    add_import(result)
    result.add_argument(
        "--output",
        type=Path,
        metavar="FILE_OR_FOLDER",
        help=f"a new file, .csv or .jsonl (default: printed); of a segmentation network, a new folder of masks and the "
        f"table {SHARES}.csv (default: {MASKS})",
    )
    result.add_argument("--format", type=one_of(FORMATS), help="csv or jsonl (default: by the file's name, or csv)")
    result.add_argument("--top", type=whole, metavar="N", help=f"classes per image (default: {TOP})")
    result.add_argument(
        "--batch_size",
        type=whole,
        metavar="N",
        help="images per batch (default: 32, fewer of a segmentation network, or that of the exported file)",
    )
    result.add_argument(
        "--threads", type=whole, metavar="N", help="threads of the network (default: one for each core)"
    )
    result.add_argument(
        "--workers", type=whole, metavar="N", help="threads that read images (default: one for each processor)"
    )
    result.add_argument(
        "--device",
        type=one_of(("cpu", "cuda")),
        help="cpu or cuda (default: cpu for ONNX and .pt2 files; otherwise cuda where there is one)",
    )
    how = result.add_argument_group("preparation of the images (default: as the model says)")
    how.add_argument("--input_size", type=_numbers(int), metavar="C,H,W", help="channels, height and width")
    how.add_argument("--mean", type=_numbers(float), metavar="X,...", help="channel means of pixels in 0..1")
    how.add_argument("--std", type=_numbers(float), metavar="X,...", help="channel standard deviations")
    how.add_argument("--interpolation", metavar="FILTER", help="bilinear, bicubic or another filter of Pillow")
    how.add_argument(
        "--crop_pct", type=positive, metavar="X", help="share of height and width that the middle crop keeps"
    )
    how.add_argument("--class_names", type=Path, metavar="FILE", help="a text file with the name of a class per line")
    return result


def _numbers(kind: type) -> Callable[[str], list]:
    def read(text: str) -> list:
        try:
            return [kind(part) for part in text.split(",")]
        except ValueError:
            what = "whole numbers" if kind is int else "numbers"
            raise argparse.ArgumentTypeError(f"got {text!r}; need {what} with commas between them") from None

    return read


def of_a_data_set(argv: Sequence[str]) -> bool:
    """Tell whether the images are those of a data set, from the arguments after ``predict``.

    They are where no image is named. As values of Lightning's options look like images, its options decide unless the
    first argument is a model.
    """
    if argv and not argv[0].startswith("-"):
        return False
    names = {argument.partition("=")[0].removesuffix("+") for argument in argv if argument.startswith("-")}
    if any("." in name or name in LIGHTNING or name.startswith("--wandb") for name in names):
        return True
    if not names <= SHARED:
        return False
    options = predict_parser().parse_intermixed_args(argv)
    return options.model is None and options.ckpt_path is not None and not is_exported(options.ckpt_path)


def is_onnx(model: str) -> bool:
    """Tell whether a model is an ONNX file, by its name."""
    return model.lower().endswith(ONNX)


def is_program(model: str) -> bool:
    """Tell whether a model is a program of ``torch.export``, by its name."""
    return model.lower().endswith(PROGRAM)


def is_exported(model: str) -> bool:
    """Tell whether a model is what ``dyc export`` writes, in any format, rather than a checkpoint."""
    if model in NAMES:  # whatever folders there are
        return False
    return is_onnx(model) or is_program(model) or model.startswith(LOCAL) or Path(model).is_dir()
