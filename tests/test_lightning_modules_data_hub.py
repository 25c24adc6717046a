"""Data sets that the Hugging Face libraries read, from a folder."""

import sys
from pathlib import Path

import pytest

from lightning_modules import ImageData


def test_hub_set(hub_folder, hub_data, class_names, evaluated):
    data = hub_data()
    data.setup("fit")
    # The order of the names is that of the data set, which sorts by the alphabet.
    assert data.class_names == ["class1", "class10", "class2"]
    assert data.num_classes == 3
    assert data.validates_on_test
    pairs = evaluated(data, data.test_dataloader())
    assert len(pairs) == 6
    assert all(class_names[grey // 20] == data.class_names[label] for grey, label in pairs)
    assert [Path(name).is_file() for name in data.predict_items()] == [True] * 6
    assert len(list(data.train_dataloader())) == 3
    held = hub_data(val_fraction=0.25)
    held.setup("fit")
    assert (len(held.splits.train), len(held.splits.val), len(held.splits.test)) == (9, 3, 6)
    assert not held.validates_on_test
    # A folder can be named with a slash at its end.
    assert ImageData(f"hfds/{hub_folder}/").dataset.endswith("/")


# What cannot be used

HUB = {
    "no_such_split": ({"val_split": "validation"}, "data.val_split", "'validation'", "a split that exists, or null"),
    "no_validation": ({"test_split": None}, "data.val_split", "name a split here or as test_split", None),
    "other_number_of_classes": ({"num_classes": 5}, "data.num_classes", "5", "3, the classes of"),
    "no_such_column": (
        {"reader_kwargs": {"target_key": "fine_label"}},
        "data.reader_kwargs",
        "target_key 'fine_label'",
        "one of 'image', 'label'",
    ),
    "no_such_image_column": (
        {"reader_kwargs": {"input_key": "img"}},
        "data.reader_kwargs",
        "input_key 'img'",
        "one of 'image', 'label'",
    ),
}


@pytest.mark.parametrize(("kwargs", "argument", "got", "need"), HUB.values(), ids=HUB)
def test_hub_sets(raises, hub_data, kwargs, argument, got, need):
    with raises(argument, got, need):
        hub_data(**kwargs).setup("fit")


def test_damaged_image_of_a_hub_set(hub_folder, raises, hub_data):
    (hub_folder / "train" / "class1" / "1.png").write_bytes(b"not an image")
    data = hub_data(batch_size=1, val_fraction=0.5)
    data.setup("fit")
    with raises("data.dataset", "which is not an image, or is damaged", "images only"):
        list(data.train_dataloader()) + list(data.val_dataloader())


def test_datasets_is_not_installed(monkeypatch, raises, hub_data):
    monkeypatch.delitem(sys.modules, "timm.data.readers.reader_hfds", raising=False)
    monkeypatch.setitem(sys.modules, "datasets", None)  # an import of it fails
    with raises("data.dataset", "import of datasets halted", "pip install 'dyc[hfds]'"):
        hub_data().setup("fit")
