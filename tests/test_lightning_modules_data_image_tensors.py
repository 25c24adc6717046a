"""Data in memory: the order of batches, and augmentation of whole batches."""

import pytest
import torch

from lightning_modules.data.image_tensors import ImageTensors, TensorLoader, normalize, random_crop, random_flip
from lightning_modules.data.loaders import EpochSampler, last_batch


def numbered(count: int) -> ImageTensors:
    """Make images whose pixels and labels are their number, so that a batch says which samples are in it."""
    labels = torch.arange(count)
    return ImageTensors(labels.to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).contiguous(), labels)


def served(loader) -> list[int]:
    """List the samples of one pass; image and label of each must belong together."""
    found = []
    for images, labels in loader:
        assert images.dtype == torch.uint8
        assert torch.equal(images[:, 0, 0, 0].long(), labels)
        found += labels.tolist()
    return found


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (8, 4), (3, 4), (4, 4), (5, 1)])
def test_evaluation_serves_every_sample_once_and_in_order(count, batch_size):
    loader = TensorLoader(numbered(count), batch_size)
    assert served(loader) == list(range(count))
    assert len(loader) == len(list(loader)) == -(-count // batch_size)


@pytest.mark.parametrize(
    ("count", "batch_size", "batches"),
    # Fewer samples than a batch are still trained on.
    [(10, 4, [4, 4]), (8, 4, [4, 4]), (4, 4, [4]), (3, 4, [3]), (1, 4, [1]), (7, 1, [1] * 7)],
)
def test_training_leaves_out_the_last_incomplete_batch(count, batch_size, batches):
    loader = TensorLoader(numbered(count), batch_size, shuffle=True)
    assert [len(labels) for _, labels in loader] == batches
    assert len(loader) == len(batches)


@pytest.mark.parametrize(
    ("count", "batch_size", "batches"),
    # A single sample, which BatchNorm cannot be trained on, is left out unless all batches are like that.
    [(10, 4, [4, 4, 2]), (9, 4, [4, 4]), (8, 4, [4, 4]), (5, 4, [4]), (3, 4, [3]), (1, 4, [1]), (3, 1, [1, 1, 1])],
)
def test_training_on_all_samples(count, batch_size, batches):
    loader = TensorLoader(numbered(count), batch_size, shuffle=True, drop_last=False)
    assert [len(labels) for _, labels in loader] == batches
    assert len(loader) == len(batches)
    assert last_batch(count, batch_size, drop_last=False) == batches[-1]
    assert len(set(served(loader))) == sum(batches)


def test_epoch_of_cifar_has_782_steps_of_64():
    data = ImageTensors(torch.zeros(50_000, 1, 1, 1, dtype=torch.uint8), torch.zeros(50_000, dtype=torch.int64))
    lengths = [len(TensorLoader(data, 64, shuffle=True, drop_last=drop_last)) for drop_last in (False, True)]
    assert lengths == [782, 781]


def test_order_depends_on_seed_and_epoch_only():
    def order(seed, epoch):
        return served(TensorLoader(numbered(50), 10, shuffle=True, seed=seed, epoch=lambda: epoch))

    first = order(0, 0)
    torch.manual_seed(123)
    assert order(0, 0) == first
    assert sorted(first) == list(range(50))
    orders = [order(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len(set(map(tuple, orders))) == 9


def test_the_epoch_is_asked_for_at_each_pass():
    epochs = iter([5, 6, 5])
    loader = TensorLoader(numbered(20), 5, shuffle=True, epoch=lambda: next(epochs))
    first, second, third = served(loader), served(loader), served(loader)
    assert first == third != second


def test_without_a_trainer_epochs_are_counted():
    loader = TensorLoader(numbered(20), 5, shuffle=True)
    orders = [served(TensorLoader(numbered(20), 5, shuffle=True, epoch=lambda e=e: e)) for e in range(2)]
    assert [served(loader), served(loader)] == orders


def test_sampler_of_single_images_follows_the_same_rule():
    sampler = EpochSampler(20, seed=3)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert list(EpochSampler(20, seed=3, epoch=lambda: 1)) == second
    assert list(EpochSampler(20, seed=4)) != first


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("count", [32, 31, 25, 13])
def test_ranks_have_the_same_batches_of_all_samples(world_size, count):
    data, options = numbered(count), {"shuffle": True, "drop_last": False, "world_size": world_size}
    sizes = [[len(labels) for _, labels in TensorLoader(data, 4, rank=r, **options)] for r in range(world_size)]
    assert sizes.count(sizes[0]) == world_size
    left = count - sum(map(sum, sizes))
    assert left < world_size or (left < 2 * world_size and count // world_size % 4 == 1)


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_partition_the_samples(world_size):
    def ranks(**kwargs):
        return [TensorLoader(numbered(32), 4, rank=r, world_size=world_size, **kwargs) for r in range(world_size)]

    assert sorted(sample for loader in ranks() for sample in served(loader)) == list(range(32))
    training = ranks(shuffle=True, seed=1)
    # Ranks wait for each other at every step, so that all must have the same number of batches.
    assert len({len(loader) for loader in training}) == 1
    samples = [served(loader) for loader in training]
    assert len({len(s) for s in samples}) == 1
    assert len(set().union(*samples)) == sum(map(len, samples)) == len(training[0]) * 4 * world_size


def test_random_crop_is_a_window_per_image():
    images = torch.randint(1, 256, (16, 3, 7, 5), dtype=torch.uint8)
    padding = 2
    torch.manual_seed(7)
    cropped = random_crop(images, padding)
    torch.manual_seed(7)
    top, left = torch.randint(0, 2 * padding + 1, (2, 16))
    for image, window, y, x in zip(images, cropped, top.tolist(), left.tolist()):
        padded = torch.zeros(3, 7 + 2 * padding, 5 + 2 * padding, dtype=torch.uint8)
        padded[:, padding:-padding, padding:-padding] = image
        assert torch.equal(window, padded[:, y : y + 7, x : x + 5])
    # Every offset occurs, both ends included.
    torch.manual_seed(0)
    point = torch.zeros(2000, 1, 5, 5, dtype=torch.uint8)
    point[:, :, 2, 2] = 1
    places = {tuple(p) for p in random_crop(point, padding).squeeze(1).nonzero()[:, 1:].tolist()}
    assert places == {(y, x) for y in range(5) for x in range(5)}


def test_random_crop_without_padding_changes_nothing():
    images = torch.randint(0, 256, (4, 3, 6, 6), dtype=torch.uint8)
    assert torch.equal(random_crop(images, 0), images)


def test_random_flip():
    images = torch.randint(0, 256, (400, 1, 3, 4), dtype=torch.uint8)
    assert torch.equal(random_flip(images, 0.0), images)
    assert torch.equal(random_flip(images, 1.0), images.flip(3))
    flipped = random_flip(images, 0.5)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    kept = (flipped == images).flatten(1).all(1)
    assert (mirrored | kept).all()
    assert 150 < mirrored.sum() < 250  # 5 standard deviations of a fair coin are 50


def test_normalize():
    images = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8)
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.3, 0.4])
    found = normalize(images, mean, std)
    torch.testing.assert_close(found, (images / 255 - mean[:, None, None]) / std[:, None, None])
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert images.dtype == torch.uint8  # the data set's own images are not written to


def test_resize():
    data = numbered(3)
    assert data.resize(2) is data
    larger = data.resize(4)
    assert larger.images.shape == (3, 1, 4, 4)
    assert larger.images.dtype == torch.uint8
    # An image of one grey stays of that grey.
    assert torch.equal(larger.images, data.images[:, :, :1, :1].expand(3, 1, 4, 4))
    checker = torch.tensor([[0, 255], [255, 0]], dtype=torch.uint8).repeat(4, 4)[None, None]
    half = ImageTensors(checker, torch.zeros(1, dtype=torch.int64)).resize(4).images
    assert ((half > 120) & (half < 136)).all()  # antialiased: without it, the corners of the board would remain


def test_subset_keeps_images_and_labels_together():
    part = numbered(10).subset(torch.tensor([7, 2]))
    assert part.labels.tolist() == part.images[:, 0, 0, 0].tolist() == [7, 2]
    assert len(part) == 2
