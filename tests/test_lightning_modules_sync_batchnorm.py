"""Two processes with SyncBatchNorm train what one trains with the same batches."""

import pytest
import torch
from support.ranks import together
from timm.layers import BatchNormAct2d
from timm.layers.norm_act import SyncBatchNormAct
from torch import distributed, nn

from lightning_modules.cli.training import main
from lightning_modules.sync_batchnorm import SyncNorms
from ops import ArgumentError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def network():
    torch.manual_seed(0)
    acts = {"drop_layer": nn.Identity, "act_layer": nn.SiLU}
    norms = [nn.BatchNorm2d(4), BatchNormAct2d(4, **acts), nn.BatchNorm2d(4, momentum=None, affine=False)]
    layers = [layer for norm in norms for layer in (nn.Conv2d(4, 4, 3), norm)]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4, track_running_stats=False))
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    return net.to(memory_format=torch.channels_last)


def images(dtype):
    return torch.randn(5, 4, 12, 12, generator=torch.Generator().manual_seed(1)).to(dtype)


def passes(net, x, share):
    """Return outputs, gradients and buffers after two training steps without updates, and outputs of evaluation."""
    for _ in range(2):
        net.zero_grad()
        out = net(x[share])
        (out * torch.linspace(-1, 1, 20, dtype=out.dtype).view(5, 4)[share]).sum().backward()
    grads = [p.grad for p in net.parameters()]
    buffers = [b.clone() for b in net.buffers()]
    net.eval()[-1].train()  # which has no statistics to evaluate with
    return out.detach(), grads, buffers


def hold(got, want, limit):
    assert (got - want).abs().max() <= limit * want.abs().max().clamp(min=1)


# Five numbers that are nearly the same make the last layer's rounding large: 1.4e-5 in float32.
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_two_processes_are_one_batch(dtype, limit):
    shares = slice(0, 3), slice(3, 5)

    def work(rank):
        distributed.init_process_group("gloo")
        out, grads, buffers = passes(SyncNorms(CPU).apply(network().to(dtype)), images(dtype), shares[rank])
        for grad in grads:
            distributed.all_reduce(grad)
        distributed.destroy_process_group()
        return [each.numpy() for each in (out, *grads, *buffers)]

    out, grads, buffers = passes(network().to(dtype), images(dtype), slice(0, 5))
    for rank, found in enumerate(together(work)):
        for got, want in zip(found, [out[shares[rank]], *grads, *buffers], strict=True):
            hold(torch.from_numpy(got).double(), want.double(), limit)


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_activation_stays_and_the_classes_come_back(device):
    net, x = network().eval(), images(torch.float32)
    before, want = [type(module) for module in net], net[:-1](x)
    norms = SyncNorms(device)
    assert norms.apply(net) is net
    if device == CUDA:
        assert [type(net[i]) for i in (1, 3, 8)] == [nn.SyncBatchNorm, SyncBatchNormAct, nn.SyncBatchNorm]
    else:  # DistributedDataParallel refuses PyTorch's layers on the CPU
        assert not any(isinstance(module, nn.SyncBatchNorm) for module in net)
    hold(net[:-1](x), want, 1e-6)
    norms.revert(net)
    assert [type(module) for module in net] == before


def test_norm_with_a_forward_of_its_own_is_refused():
    class Own(nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x).abs()

    with pytest.raises(ArgumentError, match=r"trainer\.sync_batchnorm: 0 is a Own, a BatchNorm with a forward of its"):
        SyncNorms(CPU).apply(nn.Sequential(Own(2)))


FIT = [
    "fit",
    "--data.crop_padding=0",
    "--data.hflip=0",
    "--data.val_fraction=0.1",
    "--model.ema_decay=0.9",
    "--trainer.max_epochs=2",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--wandb=disabled",
    "--trainer.callbacks+=lightning_modules.TemperatureAnnealing",
]


# At a learning rate of 0.1, rounding grows to 9e-12 in ten steps of float64, and to 2e-4 in two of float32. The rate of
# the second case keeps it small, but not what a fault would make.
@pytest.mark.parametrize(
    ("precision", "rate", "steps", "limit"), [("64-true", 0.1, 10, 1e-9), ("32-true", 0.001, 2, 1e-5)]
)
def test_steps_of_two_processes_equal_those_of_one(tmp_path, monkeypatch, precision, rate, steps, limit):
    monkeypatch.chdir(tmp_path)
    options = [*FIT, "--model.model=test_efficientnet", "--model.dynamic=dyc", "--data.image_size=32"]
    options += [
        f"--trainer.precision={precision}",
        f"--trainer.limit_train_batches={steps // 2}",
        f"--model.optimizer.lr={rate}",
    ]

    def work(rank):
        more = ["--name=two", "--data.batch_size=16", "--trainer.devices=2", "--trainer.strategy=ddp"]
        main([*options, *more, "--trainer.sync_batchnorm=true"])

    together(work)
    main([*options, "--name=one", "--data.batch_size=32"])
    one, two = (
        torch.load(tmp_path / f"runs/{name}/version_0/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("one", "two")
    )
    assert one.keys() == two.keys()
    assert any(name.startswith("ema.module.") for name in one)
    for name, want in one.items():
        difference = (two[name] - want).abs().max()
        assert difference <= limit * want.abs().max().clamp(min=1), (name, difference)
