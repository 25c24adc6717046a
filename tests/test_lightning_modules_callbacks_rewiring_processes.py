"""ChannelRewiring among two processes: the first one decides, and a resumed run has the same network on both."""

import pytest
import torch
from lightning.pytorch import Callback
from support.ranks import together
from support.selective_training import GAMMA, fit

from lightning_modules import ChannelRewiring, ImageClassifier, OptimizerSettings
from lightning_modules.callbacks import rewiring


class Save(Callback):
    """Save a checkpoint after the second epoch."""

    def __init__(self, path):
        self.path = path

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            trainer.save_checkpoint(self.path)


def train(rank, path, *, resume=False):
    """Train in this process and the other one, and return what this one ends with."""
    torch.manual_seed(0)
    plans = []
    decide, rewiring.plan_rewiring = rewiring.plan_rewiring, lambda *a, **k: plans.append(decide(*a, **k)) or plans[-1]
    settings, kwargs = OptimizerSettings(lr=0.05), {"in_chans": 1}
    classifier = ImageClassifier(
        "tiny_selective", num_classes=10, model_kwargs=kwargs, optimizer=settings, ema_decay=0.9
    )
    callback = ChannelRewiring(gamma=GAMMA, until=1.0, seed=rank)  # of which only the first one's counts
    options = {"ckpt_path": path} if resume else {}
    callbacks = [callback] if resume else [callback, Save(path)]
    _, trainer = fit(*callbacks, classifier=classifier, devices=2, strategy="ddp", sync_batchnorm=True, **options)
    rewiring.plan_rewiring = decide
    state = trainer.optimizers[0].state.values()
    momentum = {str(i): s["momentum_buffer"] for i, s in enumerate(state)}
    tensors = {**classifier.state_dict(), **momentum}
    return {name: value.tolist() for name, value in tensors.items()}, plans


@pytest.mark.exhaustive  # four trainings
@pytest.mark.filterwarnings("ignore:ChannelRewiring goes on with other settings")  # the second process's seed
def test_two_processes_have_the_network_that_the_first_decided_also_after_a_resume(tmp_path):
    path = tmp_path / "second.ckpt"

    def work(rank):
        whole, plans = train(rank, path)
        resumed, later = train(rank, path, resume=True)
        assert resumed == whole
        return whole, [{n: (c.closed, c.reallocation) for n, c in plan.items()} for plan in plans], len(later)

    (first, plans, later), (second, none, none_later) = together(work)
    assert first == second
    assert (len(plans), later) == (3, 2)
    assert (len(none), none_later) == (0, 0)
    drawn = 0
    for layer in ("a", "c"):
        pointers = torch.full((len(first[f"net.{layer}.pointers"]),), -1)
        for plan in plans:
            closed, new = plan[layer]
            pointers[closed] = -1
            pointers[new.slots] = new.pointers
            drawn += len(new.slots)
        for net in ("net", "ema.module"):
            assert first[f"{net}.{layer}.pointers"] == pointers.tolist()
        assert any(pair != [0.0, 0.0] for pair in first[f"net.{layer}.shift"])
    assert drawn > 0
