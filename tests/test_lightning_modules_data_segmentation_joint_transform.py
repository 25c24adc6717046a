"""An image and its mask are resized, cropped and mirrored alike."""

import pytest
import torch
from torchvision import tv_tensors

from lightning_modules.data.segmentation.joint_transform import (
    RandomWindow,
    evaluation_transform,
    resize,
    training_transform,
)


@pytest.mark.parametrize("size", [(6, 8), (15, 20), (18, 24), (30, 41)])
def test_a_resized_mask_lies_on_its_image(size):
    """The label of a pixel is the number of the column that its centre is in; the image has that number as its grey."""
    columns = torch.arange(24.0).expand(18, 24)
    image = resize(tv_tensors.Image(columns[None]), size)
    mask = resize(tv_tensors.Mask(columns.byte()), size)
    assert isinstance(mask, tv_tensors.Mask)
    assert (image.shape[-2:], mask.shape) == (size, size)
    middle = (image[0] - mask)[:, 2:-2]  # at the edges, an image has no pixels beyond to be the mean of
    assert float(middle.abs().max()) <= 0.51
    assert abs(float(middle.mean())) < 0.26


@pytest.mark.parametrize("hflip", [0.0, 1.0])
def test_training(hflip):
    columns = torch.arange(1, 25).expand(18, 24).byte()
    image, mask = tv_tensors.Image(columns.expand(3, -1, -1)), tv_tensors.Mask(columns)
    transform = training_transform(RandomWindow((10, 30), (1.0, 1.0), (0.0, 0.0, 0.0), 255), hflip)
    places = set()
    for _ in range(20):
        found, labels = transform(image, mask)
        assert (type(found), type(labels), found.shape, labels.shape) == (
            torch.Tensor,
            torch.Tensor,
            (3, 10, 30),
            (10, 30),
        )
        assert torch.equal(found[0], torch.where(labels == 255, 0, labels))
        there = labels[0][labels[0] != 255]
        assert there.tolist() == list(range(1, 25))[:: -1 if hflip else 1]
        places.add(int((labels[0] != 255).nonzero()[0]))
    assert places <= set(range(7))
    assert len(places) > 3


def test_evaluation():
    image, mask = tv_tensors.Image(torch.zeros(3, 18, 24)), tv_tensors.Mask(torch.zeros(18, 24))
    for size, expected in ((None, (18, 24)), ((9, 12), (9, 12))):
        found, labels = evaluation_transform(size)(image, mask)
        assert (found.shape[1:], labels.shape) == (expected, expected)
        assert type(labels) is torch.Tensor
