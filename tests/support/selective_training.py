"""A selective network of a few channels, its training on digits, and what is kept of it: for tests of rewiring."""

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from timm import is_model
from timm.models import register_model
from torch import nn

import dyc
from lightning_modules import ImageClassifier, ImageData
from lightning_modules.callbacks import EpochSeed


class TinySelective(nn.Module):
    """Three selective layers of digits; the second one only closes channels."""

    def __init__(self, in_chans=1, num_classes=10, reallocate=True):
        super().__init__()
        self.num_classes = num_classes
        self.stem = nn.Conv2d(in_chans, 8, 3, padding=1)
        self.a = dyc.SelectiveConv2d(8, 16, 1, reallocate=reallocate)
        self.b = dyc.SelectiveConv2d(16, 8, 3, padding=1, reallocate=False)
        self.c = dyc.SelectiveConv2d(16, 16, 1, reallocate=reallocate)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.c(torch.cat([x, self.b(self.a(x))], 1)).mean((2, 3)))


if not is_model("tiny_selective"):

    @register_model
    def tiny_selective(pretrained=False, **kwargs):
        return TinySelective(**{k: v for k, v in kwargs.items() if k in ("in_chans", "num_classes", "reallocate")})


GAMMA = 0.2  # so large that a network of few channels and epochs closes some


def digits():
    return ImageData("digits", batch_size=32, crop_padding=1, hflip=0.0)


def fit(*callbacks, epochs=4, batches=3, classifier=None, ckpt_path=None, **options):
    classifier = classifier or ImageClassifier("tiny_selective", channels_last=False)
    trainer = Trainer(
        max_epochs=epochs,
        limit_train_batches=batches,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        callbacks=[EpochSeed(0), *callbacks],
        logger=False,
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"accelerator": "cpu", **options},
    )
    trainer.fit(classifier, digits(), ckpt_path=ckpt_path)
    return classifier, trainer


def channels(net):
    """Return mask and pointers of every layer."""
    return {name: (layer.mask.tolist(), layer.pointers.tolist()) for name, layer in dyc.iter_selective(net)}


class History(Callback):
    """Keep what the network was made of when each epoch was evaluated."""

    def __init__(self):
        self.channels, self.tables, self.logged = [], [], []

    def on_train_epoch_end(self, trainer, pl_module):
        self.channels.append(channels(pl_module.net))
        self.tables.append(dyc.selective_layers(pl_module.net))
        self.logged.append({k: v.item() for k, v in trainer.callback_metrics.items()})

    @property
    def changed(self):
        """The epochs that a change came before."""
        return [i for i in range(1, len(self.channels)) if self.channels[i] != self.channels[i - 1]]


OPTIONS = [
    "--model.model=tiny_selective",
    "--model.ema_decay=0.9",
    "--data.batch_size=32",
    "--trainer.limit_train_batches=3",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.callbacks+=lightning_modules.ChannelRewiring",
    f"--trainer.callbacks.gamma={GAMMA}",
    "--trainer.callbacks.until=4",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--model.schedule.sched=constant",
    "--wandb=disabled",
]
