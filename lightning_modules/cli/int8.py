"""``dyc export --int8``: calibrates with real images, and compares the file with that in single precision."""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from dyc.export import ExportReport, Format, Request, quantize_onnx
from lightning_modules.cli.parsers import CALIBRATION_IMAGES, EVALUATED_IMAGES
from lightning_modules.cli.tables import Table
from lightning_modules.data.preparation import complete_preparation
from lightning_modules.labelled_images import Batches, data_of, images_of_files, some_images
from lightning_modules.prediction.inputs import named_images
from lightning_modules.prediction.masks import most_probable
from lightning_modules.prediction.onnx_network import OnnxNetwork
from lightning_modules.segmentation.scores import PixelScores
from ops import ArgumentError

NOTHING_LEFT = "no image was left to compare on"


class RealImages:
    """What a file is calibrated with, and what it is compared on, found before the export takes its time.

    Args:
        options: Those of ``dyc export``.
        checkpoint: The checkpoint that is exported, or None.
        preparation: How images are prepared.
    """

    def __init__(self, options: argparse.Namespace, checkpoint: Mapping[str, Any] | None, preparation: dict[str, Any]):
        self.options, self.data, self.files, self.seed = options, None, [], options.seed or 0
        self.calibrating = options.calibration_images or CALIBRATION_IMAGES
        self.compared = EVALUATED_IMAGES if options.evaluate is None else options.evaluate
        self.prepare = complete_preparation(preparation, {}, options.network)
        if options.calibration is not None:
            self.files = named_images([options.calibration])
        elif checkpoint is None:
            raise ArgumentError(
                "--int8", sentence="needs --calibration FOLDER, with images like those to be classified"
            )
        if checkpoint is not None and (options.calibration is None or self.compared):
            try:
                self.data = data_of(checkpoint)
            except ArgumentError as error:
                need = "" if options.calibration else "; or give --calibration FOLDER"
                need += "; --evaluate 0 compares no accuracies" if options.calibration else ""
                raise ArgumentError("--int8", sentence=f"the data of the training is needed: {error}{need}") from error

    def to_calibrate(self) -> Iterator[np.ndarray]:
        """Yield batches of images."""
        if self.files:
            batches = images_of_files(self.files, self.calibrating, self.prepare, self.seed)
        else:
            batches = some_images(self.data, "train", self.calibrating, self.prepare, self.seed)
        return (images for images, _ in batches)

    def to_compare(self) -> Batches:
        """Yield batches of images with labels; of a folder's, without labels, those that did not calibrate."""
        if self.data is not None:
            return some_images(self.data, "val", self.compared, self.prepare, self.seed)
        both = images_of_files(self.files, self.calibrating + self.compared, self.prepare, self.seed)
        return _without_first(both, self.calibrating)

    @property
    def name(self) -> str:
        """What the images to compare on are, in words."""
        if self.data is None:
            return f"other images of {self.options.calibration}"
        return f"{self.data.dataset_name}: {self.data.evaluated_split('validate')} split"


def _without_first(batches: Batches, count: int) -> Batches:
    for images, labels in batches:
        left_out, count = min(count, len(images)), max(0, count - len(images))
        if left_out < len(images):
            yield images[left_out:], labels


def export_int8(format: Format, request: Request, images: RealImages) -> tuple[ExportReport, list[object]]:
    """Write the file in 8-bit integers; return the report of that in float32, and what is printed."""
    with TemporaryDirectory() as folder:
        single = Path(folder) / request.path.name
        report = format.save(replace(request, path=single))
        request.progress("calibrate and quantise")
        said = [
            replace(report, path=f"{request.path} in float32"),
            quantize_onnx(single, request.path, images.to_calibrate()),
        ]
        if images.compared:
            request.progress("compare with float32 on real images")
            said.append(_compared(single, request.path, images))
    return report, said


def _compared(single: Path, path: Path, images: RealImages) -> Table | str:
    networks = {"float32": OnnxNetwork(str(single)), "int8": OnnxNetwork(str(path))}
    return (_compared_pixels if networks["int8"].segments else _compared_images)(networks, images)


def _compared_pixels(networks: dict[str, OnnxNetwork], images: RealImages) -> Table | str:
    """Return the mIoU of both files, and the share of pixels that they give the same class."""
    scores: dict[str, PixelScores] = {}
    same = pixels = count = 0
    for batch, masks in images.to_compare():
        logits = {name: network(batch) for name, network in networks.items()}
        classes = {name: most_probable(each) for name, each in logits.items()}
        same += int((classes["float32"] == classes["int8"]).sum())
        pixels, count = pixels + classes["int8"].size, count + len(batch)
        for name, each in logits.items() if masks is not None else ():
            found = scores.setdefault(name, PixelScores(each.shape[1]))
            found.update(torch.from_numpy(each), torch.from_numpy(masks).long(), images.data.ignore_index)
    if not count:
        return NOTHING_LEFT
    head = ["file", "mIoU", "pixel accuracy", "same class of a pixel as float32"]
    table = Table(head, 1, title=f"{images.name}, {count:,} images")
    for name in networks:
        found = scores[name].compute() if scores else {}
        figures = [f"{float(found[key]):.2%}" if found else "-" for key in ("miou", "pixel_accuracy")]
        table.rows.append([name, *figures, f"{(pixels if name == 'float32' else same) / pixels:.2%}"])
    return table


def _compared_images(networks: dict[str, OnnxNetwork], images: RealImages) -> Table | str:
    """Return the accuracy of both files, and the share of images that they give the same class."""
    right, same, count, labelled = dict.fromkeys(networks, 0), 0, 0, images.data is not None
    for batch, labels in images.to_compare():
        found = {name: network(batch).argmax(1) for name, network in networks.items()}
        same += int((found["float32"] == found["int8"]).sum())
        count += len(batch)
        for name in networks if labels is not None else ():
            right[name] += int((found[name] == labels).sum())
    if not count:
        return NOTHING_LEFT
    table = Table(["file", "top-1", "same class as float32"], 1, title=f"{images.name}, {count:,} images")
    for name in networks:
        agreement = f"{(count if name == 'float32' else same) / count:.2%}"
        table.rows.append([name, f"{right[name] / count:.2%}" if labelled else "-", agreement])
    return table
