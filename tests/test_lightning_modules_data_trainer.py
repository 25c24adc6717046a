"""Every kind of data set through a Trainer: fitted, resumed, predicted."""

import csv
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from lightning_modules import ImageClassifier, ImageData, PredictionTable
from lightning_modules.callbacks import EpochSeed


def trainer(folder: Path, callbacks=(), **kwargs) -> Trainer:
    options = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 2, "logger": False, **kwargs}
    return Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        devices=1,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **options,
    )


def classifier() -> ImageClassifier:
    return ImageClassifier("test_efficientnet")


@pytest.fixture
def make(tmp_path, image_data, write_classes, write_shards, hub_data):
    def make(kind: str, **kwargs) -> ImageData:
        if kind == "hfds":
            return hub_data(**kwargs)
        if kind == "wds":
            write_shards(tmp_path / "shards", {"train": [8, 4], "validation": [3, 3]})
            return image_data("wds/set", tmp_path / "shards", num_classes=3, **kwargs)
        write_classes(tmp_path / "images" / "train")
        write_classes(tmp_path / "images" / "val", 2)
        return image_data("folder", tmp_path / "images", **kwargs)

    return make


class Recorder(Callback):
    """Keep the batches of each epoch."""

    def __init__(self):
        self.train, self.val = {}, {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.train.setdefault(trainer.current_epoch, []).append([part.clone() for part in batch])

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if not trainer.sanity_checking:
            self.val.setdefault(trainer.current_epoch, []).append([part.clone() for part in batch])


def test_batches_in_memory_are_augmented_in_training_only(tmp_path):
    recorder, data = Recorder(), ImageData("digits", batch_size=8, image_size=32)
    trainer(tmp_path, [recorder]).fit(classifier(), data)
    passes = ((recorder.train, data.train_dataloader(), False), (recorder.val, data.val_dataloader(), True))
    for epochs, loader, plain in passes:
        loader.epoch = lambda: 0
        images, labels = next(iter(loader))
        found, found_labels = epochs[0][0]
        assert torch.equal(found_labels, labels)
        expected = (images / 255 - data.mean[0]) / data.std[0]
        assert torch.allclose(found, expected, atol=1e-5) is plain


# The order is repeated and so is augmentation, in this process and in workers.
@pytest.mark.parametrize(("kind", "num_workers"), [("folder", 0), ("folder", 1), ("wds", 0), ("wds", 1), ("hfds", 0)])
def test_fit_and_resume(tmp_path, make, kind, num_workers):
    def run(epochs, ckpt_path=None):
        recorder = Recorder()
        data = make(kind, num_workers=num_workers, auto_augment="rand-m9-mstd0.5")
        run_trainer = trainer(tmp_path, [EpochSeed(0), recorder], max_epochs=epochs, limit_val_batches=1.0)
        run_trainer.fit(classifier(), data, ckpt_path=ckpt_path)
        assert run_trainer.callback_metrics["val/top1"] <= 1
        assert run_trainer.global_step == 2 * epochs
        return run_trainer, recorder.train

    _, whole = run(2)
    first, part = run(1)
    first.save_checkpoint(tmp_path / "one.ckpt")
    _, rest = run(2, tmp_path / "one.ckpt")
    assert rest.keys() == {1}
    for epoch, found in ((0, part[0]), (1, rest[1])):
        for (images, labels), (expected, expected_labels) in zip(found, whole[epoch]):
            assert torch.equal(labels, expected_labels)
            assert torch.equal(images, expected)
    assert not torch.equal(whole[0][0][0], whole[1][0][0])


# Prediction


def predict(tmp_path: Path, data: ImageData) -> list[dict[str, str]]:
    table = tmp_path / "out" / "predictions.csv"
    trainer(tmp_path, [PredictionTable(table)]).predict(classifier(), data, return_predictions=False)
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_predict_a_folder_with_folders(tmp_path, write_image, write_classes, class_names, image_data):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "val", 1)
    pictures = tmp_path / "pictures"
    names = [pictures / name for name in ("0.png", "a/1.png", "a/b/2.JPG", "c/3.jpeg", "c/4.png")]
    for i, name in enumerate(names):
        write_image(name, i)
    (pictures / "notes.txt").write_text("not an image")
    data = image_data("folder", tmp_path, predict_folder=str(pictures), batch_size=2)
    rows = predict(tmp_path, data)
    assert [row["image"] for row in rows] == [str(name) for name in names]
    for row in rows:
        assert {row["class1"], row["class2"], row["class3"]} == set(class_names)
        assert sum(float(row[f"probability{k}"]) for k in (1, 2, 3)) == pytest.approx(1, abs=1e-5)


def test_a_set_of_grey_images_predicts_a_folder_of_coloured_ones(tmp_path, write_image, image_data, evaluated):
    for i in range(3):
        write_image(tmp_path / f"{i}.png", 100 + i)
    data = image_data("digits", batch_size=2, predict_folder=str(tmp_path))
    rows = predict(tmp_path, data)
    assert [row["image"] for row in rows] == [str(tmp_path / f"{i}.png") for i in range(3)]
    assert [tuple(images.shape) for images, _ in data.predict_dataloader()] == [(2, 1, 32, 32), (1, 1, 32, 32)]
    assert evaluated(data, data.predict_dataloader()) == [(100 + i, -1) for i in range(3)]


@pytest.mark.parametrize("kind", ["folder", "wds", "hfds"])
def test_predict_the_test_split(tmp_path, make, kind):
    data = make(kind)
    rows = predict(tmp_path, data)
    assert [row["image"] for row in rows] == data.predict_items()
    assert len(rows) == 6


def test_predict_files_and_folders(tmp_path, write_image, image_data, evaluated):
    for i, name in enumerate(("b/0.png", "a/1.tif", "a/2.bmp", "2.gif", "left.png")):
        write_image(tmp_path / name, 10 + i)
    (tmp_path / "2.gif").rename(tmp_path / "without_extension")
    (tmp_path / "a" / "notes.txt").write_text("")
    places = [str(tmp_path / name) for name in ("without_extension", "b/0.png", "a")]
    data = image_data("digits", batch_size=2, predict_folder=places)
    with pytest.warns(UserWarning, match=r"data.predict_folder: 1 left out, not images by their extension: 1 .txt"):
        items = data.predict_items()
    assert items == [*places[:2], str(tmp_path / "a/1.tif"), str(tmp_path / "a/2.bmp")]
    assert [grey for grey, _ in evaluated(data, data.predict_dataloader())] == [13, 10, 11, 12]
    one = image_data("digits", predict_folder=places[1])
    assert one.predict_items() == places[1:2]


def test_predict_folder_that_is_missing(tmp_path, raises, image_data):
    data = image_data("digits", predict_folder=str(tmp_path / "none"))
    data.setup("fit")
    with raises("data.predict_folder", "none', which does not exist", "a folder of images"):
        data.predict_dataloader()


def test_predict_folder_without_images(tmp_path, raises, image_data):
    (tmp_path / "notes.txt").write_text("")
    data = image_data("digits", predict_folder=str(tmp_path))
    data.setup("fit")
    with raises("data.predict_folder", "without images", "a folder with images"):
        data.predict_dataloader()


def test_predict_folder_with_a_file_that_is_not_an_image(tmp_path, raises, image_data):
    (tmp_path / "0.png").write_bytes(b"not an image")
    data = image_data("digits", predict_folder=str(tmp_path))
    data.setup("fit")
    with raises("data.predict_folder", f"'{tmp_path / '0.png'}', which is not an image, or is damaged", "images only"):
        list(data.predict_dataloader())
