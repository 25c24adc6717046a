"""Layers under DistributedDataParallel: the gradients of two processes are those of one that sees both halves."""

import socket
import subprocess
import sys

import pytest
import torch
from support.processes import HANGS
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


def worker(processes, port, device, backend, folder, rank):
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    torch.distributed.init_process_group(backend, init_method=address, rank=rank, world_size=processes)
    try:
        share = images(4).chunk(processes)[rank].to(device)
        parallel = nn.parallel.DistributedDataParallel(network().to(device))
        for _ in range(2):  # the second pass meets the buckets as the first one rebuilt them
            parallel.zero_grad()
            found = gradients(parallel, share)
        torch.save(found, f"{folder}/{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


def run(processes, device, backend, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Processes of their own rather than forks: threads and CUDA do not survive those.
    command = [sys.executable, __file__, str(processes), str(port), device, backend, str(folder)]
    children = [subprocess.Popen([*command, str(rank)], stderr=subprocess.PIPE, text=True) for rank in range(processes)]
    try:
        for child in children:
            _, errors = child.communicate(timeout=HANGS)
            assert child.returncode == 0, errors
    finally:
        for child in children:  # the others wait for one that failed
            child.kill()
    return [torch.load(folder / f"{rank}.pt") for rank in range(processes)]


def hold(found, want):
    for each in found:
        for ours, exact in zip(each, want, strict=True):
            torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-6)


@pytest.mark.exhaustive  # processes that import everything anew
def test_two_processes_on_the_cpu(tmp_path):
    want = gradients(network(), images(4))
    assert all(grad.abs().max() > 0 for grad in want)
    hold(run(2, "cpu", "gloo", tmp_path), want)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="got no CUDA device; need one")
def test_a_process_on_a_gpu(tmp_path):
    hold(run(1, "cuda", "nccl", tmp_path), gradients(network(), images(4)))


if __name__ == "__main__":
    worker(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6], int(sys.argv[6]))
