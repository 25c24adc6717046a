"""The parsers of commands whose work needs PyTorch, apart from it, so that their ``--help`` comes at once."""

from pathlib import Path

from lightning_modules.cli.arguments import Parser, add_run, one_of, positive, seed, share, whole, whole_or_zero
from lightning_modules.cli.imports import add_import

CALIBRATION_IMAGES, EVALUATED_IMAGES = 256, 1000
"""What ``dyc export --int8`` takes by default."""


def models_parser() -> Parser:
    """Return the parser of ``dyc models``."""
    result = Parser(
        prog="dyc models",
        description="List networks with their parameters and MACs per image beside the figures that papers print.",
        epilog="A gap of = means that our count, rounded to the digits that the paper prints, is the published figure; "
        "--published explains the other gaps. Papers count operations in different ways: the column 'counted' is our "
        "count in the paper's convention, which the column 'as' names; --conventions explains them.",
    )
    result.add_argument("filter", nargs="?", default="*", help="names to list, with wildcards (default: all)")
    add_import(result)
    result.add_argument("--timm", action="store_true", help="search all of timm's models, not only this package's")
    result.add_argument(
        "--num-classes",
        metavar="N",
        type=whole_or_zero,
        help="number of classes; 0 removes the classifier (default: each network's own, 10, 100 or 1000)",
    )
    result.add_argument(
        "--image-size", metavar="N", type=whole, help="height and width in pixels (default: each network's own)"
    )
    result.add_argument("--layers", action="store_true", help="print one row per layer as well")
    result.add_argument("--published", action="store_true", help="print one row per published figure instead")
    result.add_argument("--arguments", action="store_true", help="print what networks take as model_kwargs instead")
    result.add_argument("--conventions", action="store_true", help="print how papers count operations instead")
    result.add_argument("--csv", action="store_true", help="print comma-separated values")
    return result


def compact_parser() -> Parser:
    """Return the parser of ``dyc compact``."""
    result = Parser(
        prog="dyc compact",
        description="Load a checkpoint of a network with selective layers, remove its closed channels, and compare: "
        "parameters, MACs, time, outputs.",
    )
    result.add_argument(
        "--ckpt_path",
        default="last",
        help="a checkpoint file, or last or best for that of the run --name (default: last)",
    )
    add_run(result)
    add_import(result)
    result.add_argument(
        "--keep_below",
        type=share,
        default=0.0,
        metavar="S",
        help="do not shrink layers with less than this share of their channels closed (default: 0)",
    )
    result.add_argument("--batch", type=whole, default=64, metavar="N", help="images per timed call (default: 64)")
    result.add_argument(
        "--seconds", type=positive, default=10.0, help="seconds of timing, both networks together (default: 10)"
    )
    result.add_argument(
        "--output",
        type=Path,
        metavar="FILE.pt2",
        help="also save the compact network: as F.pt2 with torch.export, or as a folder of weights for timm",
    )
    return result


def export_parser() -> Parser:
    """Return the parser of ``dyc export``."""
    result = Parser(
        prog="dyc export",
        description="Write a network as a file that other programs run. Outputs are compared with PyTorch's before the "
        "file is written. dyc/export/README.md says what each runtime can take.",
    )
    result.add_argument(
        "network",
        metavar="CHECKPOINT_OR_MODEL",
        help="a checkpoint file, or last or best for that of the run --name; or a name of timm's, or local-dir:FOLDER",
    )
    result.add_argument("--format", default="onnx", help="onnx (default), pt2, aoti or weights")
    result.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="F",
        help="the file, or the folder of weights, which must not exist",
    )
    result.add_argument(
        "--form",
        type=one_of(("auto", "kernels", "features")),
        default="auto",
        metavar="auto|kernels|features",
        help="how dynamic layers are written: with kernels that are mixed, with constant kernels whose feature maps "
        "are mixed, or what costs less in each layer (default: auto)",
    )
    result.add_argument(
        "--batch", type=whole, default=1, metavar="N", help="images at a time that auto chooses for (default: 1)"
    )
    result.add_argument(
        "--image-size",
        metavar="N",
        type=whole,
        help="height and width in pixels (default: that of the training, or of timm)",
    )
    result.add_argument("--pretrained", action="store_true", help="with timm's weights, for a name of timm's")
    result.add_argument("--license", metavar="TEXT", help="licence of the weights, for their model card: mit, say")
    result.add_argument("--num-classes", metavar="N", type=whole, help="number of classes, for a name of timm's")
    result.add_argument("--compact", action="store_true", help="remove closed channels first, as dyc compact does")
    add_run(result)
    add_import(result)
    _add_int8(result)
    return result


def _add_int8(parser: Parser) -> None:
    group = parser.add_argument_group("8-bit integers (static quantisation after training, for --format onnx)")
    group.add_argument(
        "--int8",
        action="store_true",
        help="quantise all but the attention; the file in float32 is what it is compared with",
    )
    group.add_argument(
        "--calibration",
        metavar="IMAGES",
        help="a folder of images, or a list of them (.txt), to take the ranges of activations from (default: the "
        "training split of the checkpoint's data)",
    )
    group.add_argument(
        "--calibration-images", type=whole, metavar="N", help=f"how many images of it (default: {CALIBRATION_IMAGES})"
    )
    group.add_argument(
        "--evaluate",
        type=whole_or_zero,
        metavar="N",
        help="images of the validation split, or others of IMAGES, on which both files are compared; 0 for none "
        f"(default: {EVALUATED_IMAGES})",
    )
    group.add_argument("--seed", type=seed, help="seed that draws the images (default: 0)")


PARSERS = {"models": models_parser, "compact": compact_parser, "export": export_parser}
"""By command."""
