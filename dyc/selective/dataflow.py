"""Which modules of a network feed which: one pass through a copy without data, operator by operator."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dyc.meta_device import check_input_size, empty_image, meta_copy, usual_input_sizes
from ops import ArgumentError

_FAILURES = (RuntimeError, ValueError, TypeError, IndexError, AssertionError)
"""What models raise when they get another image than they take."""


@dataclass(eq=False)
class Operation:
    """An operator that ran: its name, the innermost module that ran it, and its place in the order of all."""

    function: str
    module: str
    index: int


@dataclass(eq=False)
class Value:
    """The content of a tensor: what made it and what uses it. Written in place, a tensor becomes another value.

    ``passed_by`` names what got the value and returned it as it is, such as a dropout during evaluation. ``seen_by``
    names every module that got or returned it. ``storage`` tells tensors that share their memory.
    """

    producer: Operation | None
    storage: int
    channels: int | None = None
    consumers: list[Operation] = field(default_factory=list)
    is_output: bool = False
    passed_by: dict[str, None] = field(default_factory=dict)
    seen_by: set[str] = field(default_factory=set)


@dataclass
class Call:
    """One call of a module: the values it got and those it returned."""

    inputs: list[Value]
    outputs: list[Value] = field(default_factory=list)


@dataclass
class Dataflow:
    """What happened during one pass in evaluation mode.

    Args:
        inputs: The model's own input.
        calls: Calls of each module that ran, by name.
        writes: Place in the order and storage of whatever was written in place.
    """

    inputs: list[Value] = field(default_factory=list)
    calls: dict[str, list[Call]] = field(default_factory=dict)
    writes: list[tuple[int, int]] = field(default_factory=list)

    def written_between(self, value: Value, first: int, last: int) -> bool:
        """Tell whether the memory of ``value`` is written between two places in the order."""
        return any(first < index < last and storage == value.storage for index, storage in self.writes)


class _Recorder(TorchDispatchMode):
    """Note producer and consumers of every tensor in this context."""

    def __init__(self, flow: Dataflow):
        super().__init__()
        self.flow = flow
        self.running: list[str] = []
        self.count = 0
        self.values: dict[int, Value] = {}
        self.leaves: set[str] = set()
        self.kept: list[Tensor] = []  # an address stands for a tensor only as long as that lives

    def value(self, tensor: Tensor) -> Value:
        """Return the value that ``tensor`` holds now."""
        if id(tensor) not in self.values:
            self.new_value(tensor, None)
        return self.values[id(tensor)]

    def new_value(self, tensor: Tensor, producer: Operation | None) -> Value:
        self.kept.append(tensor)
        channels = tensor.shape[1] if tensor.dim() == 4 else None
        value = self.values[id(tensor)] = Value(producer, tensor.untyped_storage()._cdata, channels)
        return value

    def value_of(self, *structures: Any) -> list[Value]:
        return [self.value(leaf) for leaf in tree_leaves(structures) if isinstance(leaf, Tensor)]

    def passed(self, name: str, inputs: list[Value], outputs: list[Value]) -> None:
        for value in outputs:
            if value in inputs:
                value.passed_by[name] = None

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        operation = Operation(
            func._schema.name.removeprefix("aten::"), self.running[-1] if self.running else "", self.count
        )
        self.count += 1
        inputs = self.value_of(args, kwargs)
        output = func(*args, **kwargs)
        for value in inputs:
            value.consumers.append(operation)
        for written in _written(func, args, kwargs):
            self.new_value(written, operation)
            self.flow.writes.append((operation.index, self.value(written).storage))
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor) and id(leaf) not in self.values:
                self.new_value(leaf, operation)
        return output


def _written(func: Any, args: tuple, kwargs: dict) -> Iterator[Tensor]:
    """Yield the tensors that an operator writes in place."""
    if not func._schema.is_mutable:
        return
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[i] if i < len(args) else kwargs.get(argument.name)
            yield from (leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor))


class _Functions(TorchFunctionMode):
    """Note dropout, which during evaluation is a function that no operator shows; spare BatchNorm its arithmetic."""

    def __init__(self, recorder: _Recorder):
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is F.batch_norm:  # without data it is a dozen slow operators, and all that matters is that it runs
            return args[0].clone()
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if "dropout" in name:
            recorder = self.recorder
            where = recorder.running[-1] if recorder.running else ""
            passer = where if where in recorder.leaves else f"{name} in {where or 'the model'}"
            recorder.passed(passer, recorder.value_of(args, kwargs), recorder.value_of(output))
        return output


def _follow(shell: nn.Module, recorder: _Recorder) -> None:
    """Let every module report when it is called and when it returns."""
    flow = recorder.flow

    def enter(name: str):
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            recorder.running.append(name)
            call = Call(recorder.value_of(args, kwargs))
            flow.calls.setdefault(name, []).append(call)
            for value in call.inputs:
                value.seen_by.add(name)

        return hook

    def leave(name: str):
        def hook(module: nn.Module, args: tuple, output: object) -> None:
            recorder.running.pop()
            call = flow.calls[name][-1]
            call.outputs = recorder.value_of(output)
            for value in call.outputs:
                value.seen_by.add(name)
            if name in recorder.leaves:
                recorder.passed(name, call.inputs, call.outputs)

        return hook

    for name, module in shell.named_modules():
        if name and not module._modules and not isinstance(module, nn.Identity | nn.Sequential):
            recorder.leaves.add(name)
        module.register_forward_pre_hook(enter(name), prepend=True, with_kwargs=True)
        module.register_forward_hook(leave(name))


def trace(model: nn.Module, input_size: tuple[int, int, int] | None = None) -> Dataflow:
    """Follow one image through a copy of ``model`` without data, in evaluation mode.

    Args:
        model: Any model that takes one image batch; it is not changed.
        input_size: ``(C, H, W)`` of one image; by default what the model says of itself, or 224 pixels.

    Raises:
        ArgumentError: ``input_size`` is no size, or the model does not take such an image.
    """
    if input_size is not None:
        check_input_size(input_size)
    sizes = usual_input_sizes(model) if input_size is None else [tuple(input_size)]
    for size in sizes:
        try:
            return _follow_image(model, size)
        except _FAILURES as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            got = f"{size}, with which the model cannot be traced ({reason})"
            failed = ArgumentError("input_size", got, "(C, H, W) of an image that the model takes")
            failed.__cause__ = error
    raise failed


def _follow_image(model: nn.Module, size: tuple[int, int, int]) -> Dataflow:
    flow = Dataflow()
    recorder = _Recorder(flow)
    shell = meta_copy(model)
    _follow(shell, recorder)
    image = empty_image(shell, size)
    flow.inputs = [recorder.value(image)]
    with torch.no_grad(), _Functions(recorder), recorder:
        output = shell(image)
    for value in recorder.value_of(output):
        value.is_output = True
    return flow
