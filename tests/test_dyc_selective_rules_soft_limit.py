"""The soft limit of uses, as the authors' code counts them."""

import torch

from dyc.selective import realloc


class TestSoftLimit:
    """The authors' N_max: what is used more often already is not drawn, nor are its copies; no more is counted."""

    POINTERS = torch.tensor([-1, -1, -1, 0, 0, 0, 1, 1, *[-1] * 40])
    MASK = torch.arange(48) < 8
    SCORES = torch.tensor([9.0, 8.0, 1.0, 7.0, 6.0, 5.0, 4.0, 3.0, *[0.0] * 40])

    def drawn(self, max_uses: int, num_sources: int = 3) -> set[int]:
        found = realloc(self.SCORES, self.MASK, self.POINTERS, num_sources, max_uses, soft_limit=True)
        assert len(found.slots) == 40, "every slot is served at once"
        return set(found.sources.tolist())

    def test_as_many_uses_as_the_limit_are_not_too_many(self):
        assert self.drawn(3) == {0, 1, 3}  # channel 0 is used three times, and channel 3 is one of its copies

    def test_more_uses_than_the_limit_are(self):
        assert self.drawn(2) == {1, 6, 7}  # nor is a copy of channel 0 drawn

    def test_the_limit_can_be_exceeded(self):
        found = realloc(self.SCORES, self.MASK, self.POINTERS, 1, 3, soft_limit=True)
        assert found.pointers.bincount().tolist() == [40]
        found = realloc(self.SCORES, self.MASK, self.POINTERS, 1, 3)
        assert found.pointers.bincount().max() <= 3

    def test_fewer_channels_than_sources_are_left(self):
        assert self.drawn(1) == {2}

    def test_nothing_is_left(self):
        mask = self.MASK & (torch.arange(48) != 2)
        found = realloc(self.SCORES, mask, self.POINTERS, 3, 1, soft_limit=True)
        assert len(found.slots) == 0

    def test_without_a_limit_it_changes_nothing(self):
        both = [
            realloc(self.SCORES, self.MASK, self.POINTERS, 3, None, torch.Generator().manual_seed(0), soft_limit=soft)
            for soft in (False, True)
        ]
        assert all(torch.equal(one, other) for one, other in zip(*both))
