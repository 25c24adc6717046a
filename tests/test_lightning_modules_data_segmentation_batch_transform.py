"""Whole batches are augmented as torchvision's transforms augment a pair, and each pair has its own numbers."""

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from lightning_modules.data.segmentation import joint_transform
from lightning_modules.data.segmentation.batch_transform import jitter_colours, random_windows, take_windows
from lightning_modules.data.segmentation.windows import draw_windows

SIZE, CROP, LABELS = (20, 30), (16, 24), 7
WINDOWS = {
    "whole": (0, 0, 20, 30),
    "same_size": (2, 3, 16, 24),
    "magnified": (5, 7, 8, 12),
    "magnified_much": (19, 29, 1, 1),
    "shrunk": (-6, -9, 32, 48),
    "shrunk_and_stretched": (-1, 2, 21, 27),
    "beyond_a_corner": (-3, -4, 13, 19),
    "beyond_another_corner": (11, 13, 15, 22),
}


@pytest.fixture
def batch():
    return torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8), torch.randint(
        0, LABELS, (1, *SIZE), dtype=torch.uint8
    )


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_a_window_is_that_of_torchvision(batch, window, flip, monkeypatch):
    images, masks = batch
    beyond = (100.0, 120.0, 140.0)
    monkeypatch.setattr(joint_transform, "draw_windows", lambda *_: torch.tensor([window]))
    pair = tv_tensors.Image(images[0].float()), tv_tensors.Mask(masks[0])
    expected = v2.RandomHorizontalFlip(float(flip))(joint_transform.RandomWindow(CROP, (0.5, 20.0), beyond, 255)(pair))
    shift = torch.tensor(beyond)[:, None, None]
    found = take_windows(images - shift, masks, torch.tensor([window]), torch.tensor([flip]), CROP, 255, 2.0)
    assert float((found[0][0] + shift - expected[0]).abs().max()) < 0.01
    assert torch.equal(found[1][0], expected[1])
    assert found[0].is_contiguous(memory_format=torch.channels_last)


def test_pairs_of_a_batch_do_not_mix(batch):
    images, masks = (torch.cat([x, x.flip(-1), x.flip(-2)]) for x in batch)
    windows = torch.tensor([WINDOWS[name] for name in ("magnified", "shrunk", "same_size")])
    flip = torch.tensor([True, False, True])
    together = take_windows(images.float(), masks, windows, flip, CROP, 255, 2.0)
    for i in range(3):
        pick = slice(i, i + 1)
        alone = take_windows(images[pick].float(), masks[pick], windows[pick], flip[pick], CROP, 255, 2.0)
        assert torch.allclose(together[0][pick], alone[0], atol=1e-4)
        assert torch.equal(together[1][pick], alone[1])


def test_nothing_changes_unless_it_is_asked_for(batch):
    images, masks = batch
    found = random_windows(images.float(), masks, SIZE, scale=(1.0, 1.0), hflip=0.0, ignore_index=255)
    assert torch.equal(found[0], images.float())
    assert torch.equal(found[1], masks)
    assert jitter_colours(images, 0.0) is images


def test_image_and_mask_stay_together():
    """A mask that says on which side of an edge a pixel lies says so afterwards too, wherever the edge is sharp."""
    masks = (torch.arange(60)[None, :] * 2 + torch.arange(40)[:, None] > 80).to(torch.uint8).expand(64, 40, 60)
    images = masks[:, None].expand(-1, 3, -1, -1).float() * 2 - 1  # of a colour each
    found, labels = random_windows(images, masks, (40, 60), scale=(0.5, 2.0), hflip=0.5, ignore_index=255)
    side = found[:, 0]
    sharp, inside = side.abs() > 0.6, labels != 255
    assert float((sharp & inside).float().mean()) > 0.5
    wrong = ((side > 0) != (labels == 1)) & sharp & inside
    # The weights reach one pixel further than the nearest one, at the edge of what lies beyond the image too.
    assert float(wrong.float().mean()) < 1e-3
    assert bool((labels == 255).any())
    first = [bool((labels[:, row, column] == 255).any()) for row in (0, -1) for column in (0, -1)]
    assert first == [True] * 4  # smaller ones lie anywhere in the crop


def test_windows_lie_anywhere():
    windows = draw_windows(4000, SIZE, CROP, (0.5, 2.0))
    top, left, height, width = windows.unbind(1)
    assert (int(height.min()), int(height.max()), int(width.max())) == (8, 32, 48)
    for start, length, size in ((top, height, SIZE[0]), (left, width, SIZE[1])):
        spare = size - length
        share = start / spare
        assert bool(((share >= 0) & (share <= 1))[spare != 0].all())
        assert bool((start == 0)[spare == 0].all())
        for edge in (0.0, 1.0):
            assert bool((share[spare != 0] == edge).any())
    factor = CROP[0] / height
    assert abs(float(factor.mean()) - 1.25) < 0.03


def test_colours(batch):
    images = batch[0].expand(500, -1, -1, -1)
    found = jitter_colours(images, 0.4)
    assert found.dtype == torch.uint8
    assert len(found.flatten(1).unique(dim=0)) > 490  # each has its own
    brightness = found.float().mean((1, 2, 3)) / images.float().mean((1, 2, 3))
    assert 0.55 < float(brightness.min()) < 0.75
    grey = torch.full((200, 3, 4, 4), 100, dtype=torch.uint8)
    changed = jitter_colours(grey, 0.4)
    assert (changed == changed[:, :1, :1, :1]).all()  # neither contrast nor saturation change one grey
    assert 60 <= int(changed.min()) < 65
    assert 135 < int(changed.max()) <= 140
