"""Arguments that are wrong whatever the data: each is named, with what was got and what is needed."""

import pytest

from lightning_modules import ImageData

ARGUMENTS = {
    "dataset_without_torch": ({"dataset": "cifar10"}, "data.dataset", "did you mean 'torch/cifar10'?", "'wds/NAME'"),
    "dataset_misspelt": ({"dataset": "torch/cifar1O"}, "data.dataset", "'torch/cifar10'", "'digits'"),
    "dataset_misspelt_digits": ({"dataset": "digit"}, "data.dataset", "did you mean 'digits'?", "'folder'"),
    "dataset_unlike_any": ({"dataset": "qqq"}, "data.dataset", "'qqq'", "'hfds/NAME'"),
    "dataset_prefix_only": ({"dataset": "wds/"}, "data.dataset", "'wds/'", "'wds/NAME'"),
    "batch_size": ({"batch_size": 0}, "data.batch_size", "0", "at least 1"),
    "eval_batch_size": ({"eval_batch_size": 0}, "data.eval_batch_size", "0", "at least 1"),
    "image_size": ({"image_size": 0}, "data.image_size", "0", "at least 1"),
    "num_classes": ({"num_classes": 1}, "data.num_classes", "1", "at least 2"),
    "num_workers": ({"num_workers": -1}, "data.num_workers", "-1", "at least 0"),
    "crop_padding": ({"crop_padding": -1}, "data.crop_padding", "-1", "at least 0"),
    "hflip": ({"hflip": 1.5}, "data.hflip", "1.5", "from 0 to 1"),
    "hflip_nan": ({"hflip": float("nan")}, "data.hflip", "nan", "from 0 to 1"),
    "erase_prob": ({"dataset": "folder", "erase_prob": -0.1}, "data.erase_prob", "-0.1", "from 0 to 1"),
    "crop_scale_zero": ({"crop_scale": (0.0, 1.0)}, "data.crop_scale", "(0.0, 1.0)", "0 < smallest <= largest"),
    "crop_scale_turned": ({"crop_scale": (1.0, 0.5)}, "data.crop_scale", "(1.0, 0.5)", "smallest <= largest"),
    "val_fraction_negative": ({"val_fraction": -0.1}, "data.val_fraction", "-0.1", "from 0 to below 1"),
    "val_fraction_everything": ({"val_fraction": 1.0}, "data.val_fraction", "1.0", "from 0 to below 1"),
    "mean_too_long": ({"mean": [0.5] * 3}, "data.mean / data.std", "(0.5, 0.5, 0.5)", "1 numbers each"),
    "mean_too_short": ({"dataset": "folder", "mean": [0.5]}, "data.mean / data.std", "(0.5,)", "3 numbers each"),
    "std_too_long": ({"std": [0.5, 0.5]}, "data.mean / data.std", "(0.5, 0.5)", "1 numbers each"),
    "std_zero": ({"std": [0.0]}, "data.std", "[0.0]", "positive"),
    "policy_in_memory": (
        {"auto_augment": "rand-m9-mstd0.5"},
        "data.auto_augment / data.erase_prob",
        "'rand-m9-mstd0.5' / 0.0 with 'digits'",
        "read image by image",
    ),
    "erasing_in_memory": (
        {"dataset": "torch/cifar10", "erase_prob": 0.2},
        "data.auto_augment / data.erase_prob",
        "None / 0.2 with 'torch/cifar10'",
        "read image by image",
    ),
    "shards_in_memory": (
        {"dataset": "wds/set", "in_memory": True},
        "data.in_memory",
        "True with 'wds/set'",
        "single images",
    ),
    "policy_of_a_folder_in_memory": (
        {"dataset": "folder", "in_memory": True, "erase_prob": 0.2},
        "data.auto_augment / data.erase_prob",
        "0.2 with 'folder'",
        "read image by image",
    ),
    "policy_unknown": ({"dataset": "folder", "auto_augment": "autoaug"}, "data.auto_augment", "'autoaug'", "rand-m9"),
    "policy_misspelt": ({"dataset": "folder", "auto_augment": "rand-q9"}, "data.auto_augment", "'rand-q9'", "rand-m9"),
}


@pytest.mark.parametrize(("kwargs", "argument", "got", "need"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(raises, kwargs, argument, got, need):
    with raises(argument, got, need):
        ImageData(**kwargs)
