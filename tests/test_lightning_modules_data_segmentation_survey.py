"""What was found in the masks is kept, until a file changes."""

import json
import os

import pytest

from lightning_modules.data.segmentation import survey
from lightning_modules.data.segmentation.masked_images import MaskedImages


@pytest.fixture
def read(monkeypatch):
    """List the masks that are read."""
    found, original = [], MaskedImages.read_mask

    def note(self, index):
        found.append(self.mask_name(index))
        return original(self, index)

    monkeypatch.setattr(MaskedImages, "read_mask", note)
    return found


def masks(read):
    names = sorted("/".join(name.split("/")[-3:]) for name in read)
    read.clear()
    return names


ALL = [f"{split}/masks/{i}.png" for split, count in (("test", 2), ("train", 4), ("val", 2)) for i in range(count)]


def test_masks_are_read_once(masks_folder, write_pair, segmentation_data, read, monkeypatch):
    def fit(**options):
        data = segmentation_data(masks_folder, **options)
        data.prepare_data()
        data.setup("fit")
        return data

    first = fit()
    assert masks(read) == ALL
    second = fit()
    assert masks(read) == []
    assert second.class_weights().tolist() == first.class_weights().tolist()
    assert second.palette == first.palette
    fit(void=[2, 255])
    assert masks(read) == []
    write_pair(masks_folder / "train/images/1.png", masks_folder / "train/masks/1.png", (0, 1, 2, 2, 2))
    write_pair(masks_folder / "val/images/9.png", masks_folder / "val/masks/9.png", (0, 1, 2))
    assert fit().class_weights().tolist() != first.class_weights().tolist()
    assert masks(read) == ["train/masks/1.png", "val/masks/9.png"]
    image = masks_folder / "test/images/0.png"  # also an image that changed, by its time
    os.utime(image, ns=(0, 0))
    fit()
    assert masks(read) == ["test/masks/0.png"]
    monkeypatch.setattr(survey, "FORMAT", -1)
    fit()
    assert len(masks(read)) == 9


def test_an_error_is_not_kept(masks_folder, segmentation_data, raises, read):
    (masks_folder / "train/masks/1.png").write_bytes(b"")
    for _ in range(2):
        with raises("data.root", "1.png', which is not an image", "a whole mask"):
            segmentation_data(masks_folder).setup("fit")
        assert "train/masks/1.png" in masks(read)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 1}', b"\xff"])
def test_a_damaged_cache_is_made_anew(masks_folder, segmentation_data, read, content):
    segmentation_data(masks_folder).setup("fit")
    files = sorted((masks_folder.parent / "cache/masks").iterdir())
    assert len(files) == 3
    kept = [json.loads(file.read_bytes()) for file in files]
    for file in files:
        file.write_bytes(content)
    read.clear()
    segmentation_data(masks_folder).setup("fit")
    assert masks(read) == ALL
    assert [json.loads(file.read_bytes()) for file in files] == kept


def test_a_cache_that_cannot_be_written_is_said(masks_folder, segmentation_data, monkeypatch):
    (masks_folder.parent / "file").write_text("")
    monkeypatch.setenv("DYC_CACHE", str(masks_folder.parent / "file"))
    with pytest.warns(UserWarning, match="cannot be written, so that every start reads all masks"):
        segmentation_data(masks_folder).setup("fit")


def test_a_stage_reads_its_own_split(masks_folder, segmentation_data, read):
    data = segmentation_data(masks_folder, num_classes=3)
    data.setup("test")
    assert masks(read) == ALL[:2]
    data.setup("validate")
    assert masks(read) == ALL[-2:]
    data.setup("fit")
    assert masks(read) == ALL[2:6]
    unknown = segmentation_data(masks_folder)  # what the classes are, the training masks say
    unknown.setup("test")
    assert unknown.num_classes == 3


@pytest.mark.parametrize(("stage", "expected"), [("test", ALL[:2]), ("fit", ALL)])
def test_without_a_trainer_only_the_stage_that_is_set_up_is_read(
    masks_folder, segmentation_data, read, stage, expected
):
    data = segmentation_data(masks_folder, num_classes=3)
    data.prepare_data()
    data.setup(stage)
    assert masks(read) == expected
