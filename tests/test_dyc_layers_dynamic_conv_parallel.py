"""Layers under DistributedDataParallel: the gradients of two processes are those of one that sees both halves."""

import os
import sys

import pytest
import torch
from support.processes import run
from support.ranks import environment, free_port, together
from torch import nn

import dyc


def network():
    torch.manual_seed(0)
    layer = dyc.DynamicConv2d(16, 16, 3, padding=1, groups=16, bias=False, attention="dyc")
    net = nn.Sequential(layer, nn.ReLU(), dyc.DynamicConv2d(16, 8, 1, attention="dy"))
    return net.to(memory_format=torch.channels_last)


def images(count):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 16, 9, 8, generator=generator).contiguous(memory_format=torch.channels_last)


def gradients(net, x):
    net(x).square().mean().backward()
    return [p.grad.cpu() for p in net.parameters()]


def worker(processes, device, backend, rank):
    """Return the gradients of a process to which the environment says where the others are."""
    torch.distributed.init_process_group(backend)
    try:
        share = images(4).chunk(processes)[rank].to(device)
        parallel = nn.parallel.DistributedDataParallel(network().to(device))
        for _ in range(2):  # the second pass meets the buckets as the first one rebuilt them
            parallel.zero_grad()
            found = gradients(parallel, share)
        return found
    finally:
        torch.distributed.destroy_process_group()


def hold(found, want):
    for each in found:
        for ours, exact in zip(each, want, strict=True):
            torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-6)


def test_two_processes_on_the_cpu():
    found = together(lambda rank: worker(2, "cpu", "gloo", rank))
    want = gradients(network(), images(4))
    assert all(grad.abs().max() > 0 for grad in want)
    hold(found, want)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="got no CUDA device; need one")
def test_a_process_on_a_gpu(tmp_path):
    # A process of its own rather than a fork, which CUDA does not survive.
    command = [sys.executable, __file__, str(tmp_path / "found.pt")]
    done = run(command, env={**os.environ, **environment(0, 1, free_port())})
    assert done.returncode == 0, done.stderr
    hold([torch.load(tmp_path / "found.pt")], gradients(network(), images(4)))


if __name__ == "__main__":
    torch.save(worker(1, "cuda", "nccl", 0), sys.argv[1])
