"""Networks sharded over two processes by FSDP2: a step equals that of one process with the whole batch."""

import pytest
import timm
import torch
from fixtures.models import marked
from support.ranks import together
from torch import distributed, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import dyc
from lightning_modules.sync_batchnorm import SyncNorms


def build(name):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10)
    for path, parameter in model.named_parameters():
        if path.endswith("weight") and not parameter.any():  # ends a block, in which nothing would have a gradient
            nn.init.constant_(parameter, 0.1)
    dyc.set_temperature(model, 7.0)
    return model.train()


def step(model, share):
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))[share]
    labels = torch.arange(4)[share]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4)
    loss = nn.functional.cross_entropy(model(images.contiguous(memory_format=torch.channels_last)), labels)
    loss.backward()
    optimizer.step()


SMALL, LARGEST = "dy_resnet10", "dy_resnet50"  # of 70 million parameters


@pytest.mark.parametrize("name", marked([SMALL, LARGEST], (), [SMALL]))
def test_a_network_is_sharded(tmp_path, name):
    one = build(name)
    start = [p.detach().clone() for p in one.parameters()]

    def work(rank):
        distributed.init_process_group("gloo")
        sharded = SyncNorms(torch.device("cpu")).apply(one)
        mesh = init_device_mesh("cpu", (2,))
        for stage in (sharded.layer1, sharded.layer2, sharded.layer3, sharded.layer4):
            for block in stage:
                fully_shard(block, mesh=mesh)
        fully_shard(sharded, mesh=mesh)
        held = sum(p.to_local().numel() for p in sharded.parameters())
        step(sharded, slice(2 * rank, 2 * rank + 2))
        whole = get_model_state_dict(sharded, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        if rank == 0:
            torch.save(whole, tmp_path / "whole.pt")
        distributed.destroy_process_group()
        return held

    held = together(work)
    assert all(part < 0.51 * sum(p.numel() for p in start) for part in held)
    step(one, slice(None))
    moved = [not torch.equal(p, q) for p, q in zip(one.parameters(), start, strict=True)]
    assert all(moved)
    gathered = torch.load(tmp_path / "whole.pt", weights_only=True)
    for path, want in one.state_dict().items():
        assert (gathered[path] - want).abs().max() <= 1e-5 * want.abs().max().clamp(min=1), path
    with torch.device("meta"):
        loaded = timm.create_model(name, num_classes=10)
    loaded.load_state_dict(gathered, assign=True)
    assert {t.item() for t in dyc.dynamic_model.iter_temperatures(loaded)} == {7.0}
