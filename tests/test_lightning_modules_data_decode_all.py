"""A folder of small images that is kept in memory."""

import os

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from lightning_modules.data.image_files import Decoded
from lightning_modules.data.image_tensors import ImageTensors, TensorLoader


@pytest.fixture
def squares(tmp_path):
    """Write squares of 8 pixels: the left half has a grey of its own, the right half is black."""
    for split, count in (("train", 4), ("val", 2)):
        for label, name in enumerate(("cat", "dog")):
            for i in range(count):
                image = Image.new("RGB", (8, 8), 0)
                image.paste((20 * label + i + 1,) * 3, (0, 0, 4, 8))
                path = tmp_path / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path)
    return tmp_path


def test_the_tensors_hold_what_the_files_do(squares, image_data, capsys):
    data = image_data("folder", squares, image_size=None, in_memory=True)
    data.setup("fit")
    train, val = data.splits.train, data.splits.val
    assert (train.images.shape, train.images.dtype) == ((8, 3, 8, 8), torch.uint8)
    assert (data.image_size, data.num_classes, data.class_names) == (8, 2, ["cat", "dog"])
    assert train.labels.tolist() == [0] * 4 + [1] * 4
    assert train.images[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 21, 22, 23, 24]
    assert train.images[..., 4:].max() == 0
    assert val.images[:, 2, 7, 3].tolist() == [1, 2, 21, 22]
    assert data.predict_items() == [
        str(squares / "val" / name) for name in ("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")
    ]
    assert "train: 8 images of 8 x 8 pixels, 0.00 GB in memory\n" in capsys.readouterr().out
    assert data.hparams.in_memory


def test_batches_are_those_of_a_known_set(squares, image_data):
    data = image_data("folder", squares, image_size=None, in_memory=True, num_workers=2)
    data.setup("fit")
    loader = data.train_dataloader()
    assert isinstance(loader, TensorLoader)
    images, labels = next(iter(loader))
    assert (images.dtype, images.shape, labels.shape) == (torch.uint8, (4, 3, 8, 8), (4,))
    floats, _ = data.on_after_batch_transfer((images, labels), 0)
    assert floats.dtype == torch.float32
    expected = (images[:, 0].double() / 255 - data.mean[0]) / data.std[0]
    torch.testing.assert_close(floats[:, 0].double(), expected, atol=1e-5, rtol=0)
    held = image_data("folder", squares / "train", image_size=None, in_memory=True, val_fraction=0.25)
    held.setup("fit")
    assert (len(held.splits.train), len(held.splits.val)) == (6, 2)
    assert len(held.predict_items()) == 2
    assert all(str(squares) in name for name in held.predict_items())


def test_a_size_that_is_given_resizes_as_prediction_does(tmp_path, write_classes, image_data):
    write_classes(tmp_path / "train")
    Image.radial_gradient("L").resize((48, 30)).save(tmp_path / "train" / "class1" / "0.png")
    data = image_data(
        "folder", tmp_path, image_size=16, in_memory=True, val_fraction=0.5,
        predict_folder=str(tmp_path / "train" / "class1" / "0.png"),
    )  # fmt: skip
    data.setup("fit")
    everything = {n: i for split in (data.splits.train, data.splits.val) for n, i in zip(split.names, split.images)}
    (kept,) = [image for name, image in everything.items() if name == data.predict_items()[0]]
    predicted, _ = next(iter(data.predict_dataloader()))
    assert isinstance(data.predict_dataloader(), DataLoader)
    restored = (predicted[0] * torch.tensor(data.std)[:, None, None] + torch.tensor(data.mean)[:, None, None]) * 255
    torch.testing.assert_close(restored.round().byte(), kept)
    assert kept.float().std() > 10


@pytest.mark.parametrize("split", ["train", "val"])
def test_sizes_that_differ_are_named(squares, image_data, raises, split):
    Image.new("L", (9, 8)).save(squares / split / "dog" / "1.png")
    data = image_data("folder", squares, image_size=None, in_memory=True)
    with raises("data.in_memory", f"{split}/dog/1.png' of 9 x 8 pixels", "8 x 8"):
        data.setup("fit")


def test_more_than_the_memory_there_is(squares, image_data, raises, monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: 44)  # 1,936 bytes; train alone takes 1,536
    with raises("data.in_memory", "12 images of 8 x 8 pixels, 0.00 GB in memory, and this machine has"):
        image_data("folder", squares, image_size=None, in_memory=True).setup("fit")


def test_damaged_images_are_left_out_of_memory(squares, image_data):
    (squares / "train" / "cat" / "0.png").write_bytes(b"")
    data = image_data("folder", squares, image_size=None, in_memory=True, skip_damaged=True)
    with pytest.warns(UserWarning, match="1 of 8 images left out"):
        data.setup("fit")
    assert data.splits.train.images[:, 0, 0, 0].tolist() == [2, 3, 4, 21, 22, 23, 24]


def test_a_hub_set_in_memory(hub_data):
    data = hub_data(in_memory=True)
    data.setup("fit")
    assert data.splits.train.images.shape == (12, 3, 32, 32)
    assert data.splits.train.labels.bincount().tolist() == [4, 4, 4]


@pytest.mark.parametrize("option", ["in_memory", "skip_damaged"])
@pytest.mark.parametrize(
    ("stage", "val_fraction", "read"),
    [
        ("fit", 0.0, {"train", "test"}),
        ("test", 0.0, {"test"}),
        ("validate", 0.0, {"test"}),
        ("validate", 0.5, {"train"}),
        ("test", 0.5, {"test"}),
        ("predict", 0.5, {"test"}),
    ],
)
def test_an_evaluation_decodes_only_what_it_evaluates(
    squares, image_data, monkeypatch, stage, val_fraction, read, option
):
    (squares / "val").rename(squares / "test")
    decoded, decode = set(), Decoded.decode
    monkeypatch.setattr(Decoded, "decode", lambda self, i: decoded.add(self.name(i)) or decode(self, i))
    data = image_data("folder", squares, image_size=None, val_fraction=val_fraction, **{option: True})
    data.setup(stage)
    assert {os.path.relpath(name, squares).split(os.sep)[0] for name in decoded} == read
    assert (data.num_classes, data.class_names) == (2, ["cat", "dog"])
    assert data.validates_on_test is (val_fraction == 0)
    before = set(decoded)
    data.setup("fit")
    assert len(decoded) == 12
    decoded.clear()
    data.setup("test")
    assert not decoded
    assert len(before) == sum({"train": 8, "test": 4}[name] for name in read)
    assert len(data.splits.val) == 4


def test_a_later_stage_is_held_to_the_size_of_the_first(squares, image_data, raises):
    Image.new("L", (9, 8)).save(squares / "train" / "dog" / "1.png")
    data = image_data("folder", squares, image_size=None, in_memory=True)
    data.setup("validate")
    with raises("data.in_memory", "train/dog/1.png' of 9 x 8 pixels", "8 x 8"):
        data.setup("fit")


@pytest.mark.parametrize(("free", "moved"), [(4 * 1536, True), (4 * 1536 - 1, False)])
def test_a_set_too_large_for_the_gpu_stays_outside(monkeypatch, free, moved):
    data = ImageTensors(torch.zeros(8, 3, 8, 8, dtype=torch.uint8), torch.zeros(8, dtype=torch.int64))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80 * 10**9))
    monkeypatch.setattr(ImageTensors, "to", lambda self, device: device)
    device = torch.device("cuda", 0)
    assert data.near(device) is (device if moved else data)
    assert data.near(torch.device("cpu")) is data
