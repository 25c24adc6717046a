"""About how long a training takes, for ``dyc run --dry_run``."""

from dataclasses import replace

import pytest
from PIL import Image

from experiments.papers.catalog import find
from experiments.run import estimate, settings
from experiments.run.estimate import data_of, seconds_left
from experiments.run.plan import Item
from lightning_modules.cli.jobs.training import State, Training


def test_networks_that_differ_in_their_temperature_take_the_same_time(monkeypatch):
    asked = []
    monkeypatch.setattr(estimate, "_speed", lambda settings: asked.append(settings) or 1.0)
    items = [
        Item(row, "train", "quick", (), "new", 0, Training(row.path, settings.arguments_of(row, "quick", 0)))
        for row in find("dyc/temperature/cifar100/tau1") + find("dyc/table1/cifar100")
    ]
    assert len(items) == 4
    assert len(estimate.estimates(items)) == 4
    assert len(asked) == 3


def test_segmentation_is_timed_with_its_own_network_and_images(monkeypatch):
    monkeypatch.setattr(estimate, "STEPS", 1)
    monkeypatch.setattr(estimate, "MOST_PIXELS", 1)
    row = find("own/segmentation/camvid/static")[0]
    training = Training(row.path, settings.arguments_of(row, "quick", 0))
    assert data_of(training.settings) == {"batch": 8, "size": (180, 240), "channels": 3, "classes": 11}
    item = Item(row, "train", "quick", (), "new", 0, training)
    assert estimate.estimates([item])[item] > 0


def test_the_time_that_is_left_follows_from_images_epochs_and_evaluations():
    words = ("--data.dataset=torch/cifar10", "--trainer.max_epochs=10", "--trainer.limit_train_batches=0.5")
    item = Item(None, "train", "quick", (), "new", 0, Training("a", words), State("interrupted", 4))
    evaluated = 25_000 * 0.2 / 3
    assert seconds_left(item, 0.01) == pytest.approx(0.01 * ((25_000 + evaluated) * 6 + 2 * evaluated))
    fewer = Training("a", (*words[:2], "--data.batch_size=100", "--trainer.limit_train_batches=5"))
    assert seconds_left(replace(item, training=fewer, state=None), 0.01) == pytest.approx(5 * (10 * 16 + 2) / 15)


def test_the_time_of_a_folder_follows_from_its_images(tmp_path):
    for label, count in (("cat", 3), ("dog", 2)):
        (tmp_path / "train" / label).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (40, 40)).save(tmp_path / "train" / label / f"{number}.png")
    words = ("--data.dataset=folder", f"--data.root={tmp_path}", "--trainer.max_epochs=1")
    item = Item(None, "train", "quick", (), "new", 0, Training("a", words))
    assert seconds_left(item, 15.0) == pytest.approx(5 * (15 + 3))
    assert data_of(item.training.settings) == {"batch": 128, "size": 40, "channels": 3, "classes": 2}
    missing = Training("a", ("--data.dataset=folder", "--data.root=missing"))
    assert data_of(missing.settings) == {"batch": 128, "size": 224, "channels": 3, "classes": 1000}
