"""Where BatchNorm, ReLU and convolution follow each other and on nothing else, and why not elsewhere."""

from dataclasses import dataclass

from timm.layers import BatchNormAct2d, Conv2dSame
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from dyc.conversion.convertible import altered, has_hooks, shared_parameters
from dyc.selective.dataflow import Dataflow, Value

_DROPOUTS = (nn.Dropout, nn.Dropout2d)
_NORMS = (nn.BatchNorm2d.forward, nn.SyncBatchNorm.forward, BatchNormAct2d.forward)


@dataclass(frozen=True)
class Triple:
    """Names of the modules; ``drop`` is empty if there is none. ``act`` may be inside ``norm``."""

    norm: str
    act: str
    drop: str
    conv: str


class _Unfit(Exception):
    """Why a convolution does not fit."""


def _called_once(flow: Dataflow, name: str, what: str) -> None:
    times = len(flow.calls.get(name, ()))
    if times != 1:
        raise _Unfit(f"{what} runs {times} times" if times else f"{what} does not run")


def _only_used_by(value: Value, user: str, what: str, drop: str = "") -> None:
    """Refuse a value that goes anywhere but into the module ``user``, or that any dropout but ``drop`` would change."""
    if value.is_output:
        raise _Unfit(f"{what} is an output of the model too")
    others = dict.fromkeys(op.module or "the model" for op in value.consumers if op.module != user)
    if others:
        raise _Unfit(f"{what} goes to {', '.join(others)} too")
    between = [name for name in value.passed_by if name != drop]
    if between:
        raise _Unfit(f"{', '.join(between)} is between {what} and {user}")


def _own_input(flow: Dataflow, name: str) -> Value:
    return flow.calls[name][0].inputs[0]


class TripleFinder:
    """Tell for convolutions of a model whether they are the last of a triple.

    Args:
        model: The network.
        flow: What :func:`trace` found in it.
    """

    def __init__(self, model: nn.Module, flow: Dataflow):
        self.model, self.flow = model, flow
        self.modules = dict(model.named_modules())
        self.shared = shared_parameters(model)
        self.features = feature_levels(model)

    def sees_the_image(self, name: str) -> bool:
        """Tell whether the model's input goes straight into the convolution."""
        calls = self.flow.calls.get(name, ())
        return any(value in self.flow.inputs for call in calls for value in call.inputs)

    def find(self, name: str) -> Triple | str:
        """Return the triple that ends in the convolution ``name``, or why there is none."""
        try:
            return self._find(name)
        except _Unfit as unfit:
            return str(unfit)

    def _find(self, name: str) -> Triple:
        conv = self.modules[name]
        self._check_conv(conv)
        _called_once(self.flow, name, "it")
        activated = _own_input(self.flow, name)
        act = self._activation(activated)
        drop = self._dropout(activated)
        _only_used_by(activated, name, f"the output of {act}", drop)
        normed = _own_input(self.flow, act)
        norm = self._norm(normed, act)
        _only_used_by(normed, act, f"the output of {norm}")
        triple = Triple(norm, act, drop, name)
        self._check_surroundings(triple, normed, activated)
        return triple

    def _check_conv(self, conv: nn.Module) -> None:
        reason = altered(conv)
        if reason is not None:
            raise _Unfit(reason)
        if isinstance(conv, Conv2dSame):
            raise _Unfit(f"its class {type(conv).__name__} pads by the size of the image")
        if conv.groups != 1:
            raise _Unfit(f"it has {conv.groups} groups, so that an input channel serves few outputs only")
        if conv in self.shared:
            raise _Unfit(f"it shares parameters with {self.shared[conv]}")

    def _producer(self, value: Value, what: str) -> tuple[nn.Module, str, str]:
        """Return the module that made ``value``, its name, and what a message calls it."""
        if value in self.flow.inputs:
            raise _Unfit(f"{what} is the image")
        if value.producer is None:
            raise _Unfit(f"{what} does not come from the model's input")
        name = value.producer.module
        module = self.modules[name]
        if module is self.model or (module._modules and not isinstance(module, nn.modules.batchnorm._BatchNorm)):
            return module, name, f"the function {value.producer.function} in {name or 'the model'}"
        return module, name, f"{name} ({type(module).__name__})"

    def _activation(self, value: Value) -> str:
        module, name, shown = self._producer(value, "its input")
        if type(module).forward is not nn.ReLU.forward or "forward" in module.__dict__:
            raise _Unfit(f"its input comes from {shown}, not from a ReLU module")
        _called_once(self.flow, name, f"its activation {name}")
        return name

    def _dropout(self, value: Value) -> str:
        """Return the name of the one dropout module that ``value`` passes, or nothing."""
        names = list(value.passed_by)
        alone = len(names) == 1 and len(self.flow.calls.get(names[0], ())) == 1
        return names[0] if alone and type(self.modules[names[0]]) in _DROPOUTS else ""

    def _norm(self, value: Value, act: str) -> str:
        module, name, shown = self._producer(value, f"the input of {act}")
        if not isinstance(module, nn.modules.batchnorm._BatchNorm) or type(module).forward not in _NORMS:
            raise _Unfit(f"{act} activates {shown}, not a BatchNorm")
        _called_once(self.flow, name, f"its norm {name}")
        if "forward" in module.__dict__ or is_parametrized(module):
            raise _Unfit(f"its norm {name} was altered")
        if module.weight is None or module.bias is None:
            raise _Unfit(f"its norm {name} has no scale and offset (affine=False)")
        if module.running_mean is None:
            raise _Unfit(f"its norm {name} has no running statistics (track_running_stats=False)")
        if module in self.shared:
            raise _Unfit(f"its norm {name} shares parameters with {self.shared[module]}")
        return name

    def _check_surroundings(self, triple: Triple, normed: Value, activated: Value) -> None:
        """Refuse where somebody looks at what norm and activation return at their present places."""
        # Modules around them, such as a sequence of the two, return the same values.
        watched = (normed.seen_by | activated.seen_by) - {triple.conv}
        for name in sorted(watched):
            if name in self.features:
                raise _Unfit(f"the output of {name} is a feature level of the model")
            if has_hooks(self.modules[name]):
                raise _Unfit(f"hooks of {name} see the output of {triple.norm} or {triple.act}")
        before = _own_input(self.flow, triple.norm)
        first, last = normed.producer.index, activated.consumers[-1].index
        if self.flow.written_between(before, first, last):
            raise _Unfit(f"the input of {triple.norm} is changed in place before the convolution runs")


def feature_levels(model: nn.Module) -> set[str]:
    """Return the names of the modules whose outputs a timm model offers as features."""
    info = getattr(model, "feature_info", None) or []
    return {level["module"] for level in getattr(info, "info", info) if "module" in level}
