"""BatchNorm over the batches of all processes: on any device, and with the activation that timm's layers hold."""

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins import TorchSyncBatchNorm
from timm.layers.norm_act import BatchNormAct2d, SyncBatchNormAct
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ops import ArgumentError


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return _SumOverProcesses.apply(grad)


class SyncBatchNormOnCpu(_BatchNorm):
    """PyTorch's ``SyncBatchNorm`` for the CPU, which PyTorch's refuses; in any memory format and precision."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, C, ...)`` by the mean and variance of all processes' samples, each counted once."""
        if not self.training or distributed.get_world_size() == 1:
            return super().forward(x)
        dims, shape = [d for d in range(x.ndim) if d != 1], [1, -1] + [1] * (x.ndim - 2)
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        own_count = exact.new_tensor([x.numel() // x.shape[1]])
        sums = _SumOverProcesses.apply(torch.cat([exact.sum(dims), own_count]))
        mean, count = sums[:-1] / sums[-1], sums[-1].detach()
        centred = exact - mean.view(shape)
        var = _SumOverProcesses.apply(centred.square().sum(dims)) / count
        if self.track_running_stats:
            self._track(mean.detach(), var.detach() * count / (count - 1).clamp(min=1))
        out = centred * (var + self.eps).rsqrt().view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(x.dtype)

    def _track(self, mean: Tensor, var: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        for running, value in ((self.running_mean, mean), (self.running_var, var)):
            running.lerp_(value.to(running.dtype), share)

    def _check_input_dim(self, x: Tensor) -> None:
        """Take images, sequences and volumes alike."""


class SyncBatchNormActOnCpu(SyncBatchNormOnCpu):
    """The same for timm's ``BatchNormAct2d``, which has an activation."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, and activate."""
        return self.act(self.drop(super().forward(x)))


CLASSES = {
    _BatchNorm.forward: (nn.SyncBatchNorm, SyncBatchNormOnCpu),
    nn.SyncBatchNorm.forward: (nn.SyncBatchNorm, SyncBatchNormOnCpu),
    BatchNormAct2d.forward: (SyncBatchNormAct, SyncBatchNormActOnCpu),
    SyncBatchNormAct.forward: (SyncBatchNormAct, SyncBatchNormActOnCpu),
}
"""What takes the place of a class with this ``forward``, on a GPU and on the CPU."""


class SyncNorms(TorchSyncBatchNorm):
    """Lightning's ``sync_batchnorm`` in place; a network has its own classes again when a training is over.

    Lightning leaves this to PyTorch, whose conversion drops the activation of timm's ``BatchNormAct2d`` without a word,
    and whose layers refuse the CPU.

    Args:
        device: The device of the network.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_cpu = device.type == "cpu"
        self._before: list[tuple[nn.Module, type]] = []

    def apply(self, model: nn.Module) -> nn.Module:
        """Let each BatchNorm of a model see all processes' samples, in place.

        Raises:
            ArgumentError: A layer does something of its own, which would be lost.
        """
        for name, module in model.named_modules():
            if not isinstance(module, _BatchNorm):
                continue
            if type(module).forward not in CLASSES:
                sentence = (
                    f"{name} is a {type(module).__name__}, a BatchNorm with a forward of its own, which "
                    "sync_batchnorm would lose; leave trainer.sync_batchnorm off, or synchronise it yourself"
                )
                raise ArgumentError("trainer.sync_batchnorm", sentence=sentence)
            self._before.append((module, type(module)))
            module.__class__ = CLASSES[type(module).forward][self._on_cpu]
            module.process_group = None  # all of them
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Give each layer the class that it had."""
        for module, before in self._before:
            module.__class__ = before
        self._before = []
        return model


def use_sync_norms(trainer: Trainer) -> None:
    """Let a trainer with ``sync_batchnorm`` synchronise by :class:`SyncNorms`, unless it was given a way of its own."""
    if type(getattr(trainer.strategy, "_layer_sync", None)) is TorchSyncBatchNorm:
        trainer.strategy._layer_sync = SyncNorms(trainer.strategy.root_device)
