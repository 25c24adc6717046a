"""Fixtures shared by the tests."""

import functools
import io
import json
import os
import re
import tarfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ops import ArgumentError, GlobalBranch, register_backend
from ops.dispatch import registry

# The tests of ops need torch and nothing else, so what other tests need is imported where it is used.

os.environ["WANDB_MODE"] = "offline"  # whoever runs the tests, nothing leaves the machine


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def backend_registry():
    """Let a test register backends; the registry is put back afterwards, with its order."""
    states = (registry._REGISTRY, registry._BEFORE)
    before = [dict(state) for state in states]
    yield
    for state, kept in zip(states, before):
        state.clear()
        state.update(kept)
    registry._GENERATION[0] += 1


@pytest.fixture
def eager_calls(backend_registry):
    """List the operators that plain PyTorch runs, in the order of the calls."""
    from ops.backends.eager import EAGER

    taken = []

    def noting(name, implementation):
        def run(*args):
            taken.append(name)
            return implementation.run(*args)

        return replace(implementation, run=run)

    operators = {name: noting(name, implementation) for name, implementation in EAGER.operators.items()}
    register_backend(replace(EAGER, operators=operators), replace=True)
    return taken


@pytest.fixture
def raises():
    @contextmanager
    def expect(argument: str, got: str, need: str | None = None):
        """Expect an ArgumentError with these parts of its message; without ``need``, a sentence that holds ``got``."""
        with pytest.raises(ArgumentError) as error:
            yield
        assert isinstance(error.value, ValueError)
        assert error.value.argument == argument
        name, message = str(error.value).split(": ", 1)
        assert name == argument
        if need is None:
            assert "; need " not in message
            assert got in message
        else:
            before, after = message.split("; need ")
            assert before.startswith("got ")
            assert got in before
            assert need in after

    return expect


@pytest.fixture
def draw_layer():
    def make(batch=3, channels=20, size=9, kernel=3, per_channel=True, biases=True, kernels=4):
        """Draw x, a bank and a branch, all leaves that ask for gradients."""
        hidden, outputs = channels // 4 + 1, kernels * (channels if per_channel else 1)
        x = torch.randn(batch, channels, size, size - 2).contiguous(memory_format=torch.channels_last)
        fc1, fc2 = torch.randn(hidden, channels), torch.randn(outputs, hidden)
        weight = torch.randn(kernels, channels, 1, kernel, kernel)
        bias1, bias2 = (torch.randn(hidden), torch.randn(outputs)) if biases else (None, None)
        leaves = [t.requires_grad_() for t in (x, weight, fc1, fc2, bias1, bias2) if t is not None]
        return leaves, x, weight, GlobalBranch(fc1, bias1, fc2, bias2, torch.tensor(3.0))

    return make


@pytest.fixture
def draw_selective():
    import dyc

    def draw(channels=12, outputs=6, kernel=1, closed=(), **kwargs):
        """Draw a selective layer whose norm has seen something, so that every channel is worth something else."""
        layer = dyc.SelectiveConv2d(channels, outputs, kernel, padding=kernel // 2, **kwargs)
        with torch.no_grad():
            layer.norm.weight.uniform_(0.5, 1.5)
            layer.norm.bias.normal_()
            layer.norm.running_mean.normal_()
            layer.norm.running_var.uniform_(0.5, 2)
        layer.mask[list(closed)] = False
        layer.refresh()
        return layer

    return draw


# Models


SIZE_WORDS = {"tiny": -2, "small": -1, "base": 1, "large": 2}
SAME_NETWORK = {"condensenet": "densenet", "resnext": "preresnet"}
"""Files that only give the network of another file other numbers."""


def family_and_size(name: str) -> tuple[tuple[str, str], tuple]:
    """Return a model's family, that is its file and the first word of its name, and its place in it by size.

    Sizes are pixels, words, and numbers of two digits or more (depths, widths in percent); a version such as ``v2`` is
    none. The forms with selective channels are one family: one mechanism makes them all.
    """
    import timm

    kind, *words = name.split("_")
    rank = sum(SIZE_WORDS.get(word, 0) for word in words)
    pixels = timm.models.get_pretrained_cfg(name).input_size[-1]
    numbers = [int(number) for number in re.findall(r"(?<![v\d])\d{2,}", name)] or [100]
    file = timm.model_entrypoint(name).__module__.rsplit(".", 1)[-1]
    kind = re.sub(r"\d{2,}$", "", kind)
    source = kind if kind == "select" else SAME_NETWORK.get(file, file)
    return (source, SAME_NETWORK.get(kind, kind)), (file in SAME_NETWORK, rank, pixels, numbers, len(words), name)


@functools.cache
def smallest_of_each_family() -> list[str]:
    """Return the smallest model of each family; the others differ in numbers or have tests of their own."""
    from dyc.models import model_names

    families: dict[tuple[str, str], list[tuple]] = {}
    for name in model_names():
        family, size = family_and_size(name)
        families.setdefault(family, []).append((size, name))
    return [min(members)[1] for members in families.values()]


def pytest_generate_tests(metafunc):
    """Run a test that asks for a ``family`` with the smallest model of each; a ``network`` is one of each file."""
    if "family" in metafunc.fixturenames:
        metafunc.parametrize("family", smallest_of_each_family())
    if "network" in metafunc.fixturenames:
        files = {family_and_size(name)[0][0]: name for name in reversed(smallest_of_each_family())}
        metafunc.parametrize("network", list(files.values()))


@pytest.fixture
def families():
    return smallest_of_each_family()


@pytest.fixture
def images():
    def draw(name: str, batch: int = 2, channels: int = 3) -> torch.Tensor:
        """Draw images of a size that suits the model."""
        import timm

        pixels = min(64, timm.models.get_pretrained_cfg(name).input_size[-1])
        return torch.randn(batch, channels, pixels, pixels)

    return draw


# Data


@pytest.fixture
def image_data():
    from lightning_modules import ImageData

    def make(dataset: str, root: Path | str = ".", **kwargs) -> ImageData:
        return ImageData(dataset, str(root), **{"batch_size": 4, "image_size": 32, "num_workers": 0, **kwargs})

    return make


@pytest.fixture
def write_image():
    from PIL import Image

    def write(path: Path, grey: int = 0, mode: str = "RGB") -> None:
        """Write an image of one grey, which no crop, flip or resize can change."""
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 36), grey).convert(mode).save(path)

    return write


@pytest.fixture
def class_names():
    return ["class1", "class2", "class10"]  # in natural order, which is not that of the alphabet


@pytest.fixture
def write_classes(write_image, class_names):
    def write(folder: Path, count: int = 4, classes=class_names) -> None:
        """Write images whose grey is 20 times their class plus their number."""
        for label, name in enumerate(classes):
            for i in range(count):
                write_image(folder / name / f"{i}.png", 20 * label + i)

    return write


@pytest.fixture
def write_shards():
    from PIL import Image

    def write(root: Path, shards: dict[str, list[int]]) -> None:
        """Write shards of images; a sample's grey is its number, its class the number modulo 3."""
        root.mkdir(parents=True, exist_ok=True)
        splits, number = {}, 0
        for split, lengths in shards.items():
            files = [f"set-{split}-{i:04d}.tar" for i in range(len(lengths))]
            for file, length in zip(files, lengths):
                with tarfile.open(root / file, "w") as tar:
                    for _ in range(length):
                        picture = io.BytesIO()
                        Image.new("L", (40, 36), number).save(picture, "png")
                        for extension, content in (("png", picture.getvalue()), ("cls", str(number % 3).encode())):
                            info = tarfile.TarInfo(f"{number:06d}.{extension}")
                            info.size = len(content)
                            tar.addfile(info, io.BytesIO(content))
                        number += 1
            splits[split] = {
                "name": split,
                "num_samples": sum(lengths),
                "filenames": files,
                "shard_lengths": lengths,
            }
        (root / "_info.json").write_text(json.dumps({"splits": splits}))

    return write


@pytest.fixture
def hub_folder(tmp_path, monkeypatch, write_classes):
    """Write a data set; keep the Hugging Face libraries off the network and out of the home folder."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    folder = tmp_path / "set"
    write_classes(folder / "train")
    write_classes(folder / "test", 2)
    return folder


@pytest.fixture
def hub_data(hub_folder, image_data):
    def make(**kwargs):
        options = {"val_split": None, "test_split": "test", **kwargs}
        return image_data(f"hfds/{hub_folder}", hub_folder.parent / "cache", **options)

    return make


@pytest.fixture
def evaluated():
    def serve(data, loader) -> list[tuple[int, int]]:
        """List grey and label of each image of a pass, the normalisation undone."""
        mean, std = (torch.tensor(v)[:, None, None] for v in (data.mean, data.std))
        found = []
        for images, labels in loader:
            pixels = (images * std + mean) * 255
            assert float(pixels.amax((1, 2, 3)).sub(pixels.amin((1, 2, 3))).max()) < 0.01
            found += zip(pixels.mean((1, 2, 3)).round().int().tolist(), labels.tolist())
        return found

    return serve
