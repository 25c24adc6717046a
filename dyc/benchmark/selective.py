"""Time networks with selective layers: training beside the plain network, closing channels, and compact networks."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dyc.models  # noqa: F401  (registers the networks)
from dyc.benchmark.operators import LAYOUTS
from dyc.benchmark.timing import Measurement, measure
from dyc.dynamic_model import check_model
from dyc.selective import compact, iter_selective, layer_scores, rewire
from ops import ArgumentError

TRAINING, INFERENCE, REWIRING = "training step", "inference", "rewiring"


@dataclass(frozen=True)
class SelectiveCase:
    """What is compared: a network by name, images of a call, and the share of channels that is re-used or closed."""

    model: str
    batch: int = 64
    size: int = 32
    share: float = 0.25
    layout: str = "channels_last"
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    seconds: float = 20.0


@dataclass(frozen=True)
class SelectiveTiming:
    """One contestant: its time, its ratio to the first of its ``mode``, and its parameters."""

    mode: str
    contestant: str
    measurement: Measurement
    ratio: float
    parameters: int


@torch.no_grad()
def silence(model: nn.Module, share: float, *, reallocating_only: bool = False) -> None:
    """Zero the weights of the least important ``share`` of every selective layer's input channels.

    What :func:`dyc.rewire` then closes, or re-uses, is known beforehand.

    Args:
        model: A network with selective layers.
        share: Between 0 and 1.
        reallocating_only: Leave the layers alone that can only close channels.
    """
    check_model(model)
    if not 0 <= share < 1:
        raise ArgumentError("share", share, "a share of the channels in [0, 1)")
    for _, layer in iter_selective(model):
        if layer.reallocates or not reallocating_only:
            weakest = layer_scores(layer).argsort(stable=True)[: int(share * layer.in_channels)]
            layer.conv.weight[:, weakest.to(layer.conv.weight.device)] = 0


class _Images:
    """Random images and labels of a case, and calls of networks on them."""

    def __init__(self, case: SelectiveCase, model: nn.Module):
        self.case = case
        x = torch.randn(case.batch, model.in_chans, case.size, case.size, device=case.device)
        self.x = x.contiguous(memory_format=LAYOUTS[case.layout])
        self.labels = torch.randint(model.num_classes, (case.batch,), device=case.device)

    def _forward(self, network: nn.Module) -> Tensor:
        on = self.case.dtype != torch.float32
        with torch.autocast(self.case.device, self.case.dtype if on else None, enabled=on):
            return network(self.x)

    def training(self, network: nn.Module) -> Callable[[], object]:
        """Return a training step: cross-entropy, backward, SGD with Nesterov momentum."""
        network = copy.deepcopy(network).train()
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4)

        def step() -> None:
            F.cross_entropy(self._forward(network).float(), self.labels).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step

    def inference(self, network: nn.Module) -> Callable[[], object]:
        """Return a call in evaluation mode without gradients."""
        return torch.no_grad()(partial(self._forward, copy.deepcopy(network).eval()))


def _rewiring(model: nn.Module, share: float) -> Callable[[], object]:
    """Return a call of :func:`dyc.rewire` that finds the same share of channels to close every time."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # so that there is a momentum to be reset
    silence(model, share)  # re-used channels have weights of zero and are found again
    return lambda: rewire(model, gamma=0.0, optimizer=optimizer)


def time_selective(case: SelectiveCase) -> list[SelectiveTiming]:
    """Time a selective network in turns with what it is made of.

    * training step: the plain network, the selective one as created, and with ``share`` of the channels of every
      layer that re-allocates re-used;
    * inference: the plain network, the selective one with ``share`` of all channels closed, and that made compact;
    * rewiring: closing and re-using ``share`` of all channels, state of the optimiser included.

    Args:
        case: What is compared.

    Raises:
        ArgumentError: The network has no selective layer, or the share is not one.
    """
    torch.manual_seed(0)
    fresh = timm.create_model(case.model).to(case.device, memory_format=LAYOUTS[case.layout])
    if not any(True for _ in iter_selective(fresh)):
        raise ArgumentError("model", repr(case.model), "a network with selective layers, such as 'select_densenet40'")
    images, plain = _Images(case, fresh), compact(fresh, input_size=(fresh.in_chans, case.size, case.size))
    used, closed = copy.deepcopy(fresh), copy.deepcopy(fresh)
    silence(used, case.share, reallocating_only=True)
    rewire(used, gamma=0.0)
    silence(closed, case.share)
    rewire(closed, gamma=0.0, num_sources=0)
    smaller = compact(closed, input_size=(fresh.in_chans, case.size, case.size))
    percent = f"{case.share:.0%}"
    networks = {
        TRAINING: {"plain": plain, "selective": fresh, f"{percent} re-used": used},
        INFERENCE: {"plain": plain, f"{percent} closed": closed, f"{percent} closed, compact": smaller},
        REWIRING: {f"close and re-use {percent}": fresh},
    }
    make = {TRAINING: images.training, INFERENCE: images.inference, REWIRING: partial(_rewiring, share=case.share)}
    found = []
    for mode, group in networks.items():
        calls = {label: make[mode](network) for label, network in group.items()}
        times = measure(calls, device=case.device, seconds=case.seconds)
        base = times[next(iter(group))].median_ms
        for label, network in group.items():
            parameters = sum(p.numel() for p in network.parameters())
            found.append(SelectiveTiming(mode, label, times[label], times[label].median_ms / base, parameters))
    return found
