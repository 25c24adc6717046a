"""What became dynamic in a model, layer by layer, and what stayed static and why."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn.parameter import is_lazy

from dyc.conversion.convertible import is_convolution, reasons
from dyc.dynamic_model import check_model
from dyc.layers import DynamicConv2d, DynamicConv2dSame
from dyc.text_table import aligned


@dataclass(frozen=True)
class LayerRow:
    """One convolution. For a static one ``num_kernels`` is 1, ``attention`` is empty and ``static`` says why.

    ``bank`` and ``branch`` count parameters: those of the kernels and biases, and those of the attention; a branch
    that several layers share counts with the first. ``temperature`` is None where there is none.
    """

    name: str
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] | str
    groups: int
    num_kernels: int = 1
    attention: str = ""
    bank: int = 0
    branch: int = 0
    temperature: float | None = None
    mixing: str = ""
    backend: str = ""
    static: str = ""

    def cells(self) -> tuple[str, ...]:
        """Return what :class:`LayerTable` prints."""
        return (
            self.name,
            f"{self.in_channels} > {self.out_channels}",
            "x".join(map(str, self.kernel_size)),
            "x".join(map(str, self.stride)) if len(set(self.stride)) > 1 else str(self.stride[0]),
            str(self.groups),
            str(self.num_kernels),
            self.attention or "static",
            f"{self.bank:,}",
            f"{self.branch:,}",
            "" if self.temperature is None else f"{self.temperature:g}",
            self.mixing or self.static,
            self.backend,
        )


HEADER = (
    "layer",
    "channels",
    "kernel",
    "stride",
    "groups",
    "K",
    "attention",
    "bank",
    "branch",
    "T",
    "mixing",
    "backend",
)
_RIGHT = {"stride", "groups", "K", "bank", "branch", "T"}


class LayerTable(list[LayerRow]):
    """The rows of :func:`dynamic_layers`; ``print`` it for a table."""

    def __str__(self) -> str:
        bank, branch = (f"{sum(counts):,}" for counts in ([r.bank for r in self], [r.branch for r in self]))
        total = ("total", *[""] * 6, bank, branch, *[""] * 3)
        rows = [*(row.cells() for row in self), total]
        # The reason of a static layer may run on over the last columns.
        reasons_why = {(number, "mixing") for number, row in enumerate(self) if row.static}
        return aligned(HEADER, rows, _RIGHT, reasons_why)


def dynamic_layers(model: nn.Module, *, static: bool = False) -> LayerTable:
    """List the dynamic convolutions of a model.

    Args:
        model: Any model.
        static: List the convolutions that stayed static too, each with the reason why it cannot become dynamic, or
            "not chosen" if it could.

    Returns:
        A list of :class:`LayerRow` in the order of the network; ``print`` it for a table.

    Raises:
        ArgumentError: ``model`` is no module.

    Example:
        >>> import dyc, timm
        >>> table = dynamic_layers(timm.create_model("dyc_mobilenetv2_cifar"))
        >>> len(table), table[0].name, table[0].num_kernels, table[0].attention
        (11, 'blocks.3.0.conv_dw', 4, 'dyc')
    """
    check_model(model)
    table = LayerTable(_dynamic_rows(model))
    if not static:
        return table
    convs = {name: module for name, module in model.named_modules() if _is_static(module)}
    rows = {row.name: row for row in (*table, *_static_rows(convs, reasons(model, convs)))}
    return LayerTable(rows[name] for name, _ in model.named_modules() if name in rows)


def _is_static(module: nn.Module) -> bool:
    # Of one and three dimensions too: nobody who chooses convolutions of images means them, but they are there.
    return is_convolution(module) or isinstance(module, nn.modules.conv._ConvNd)


def _count(module: nn.Module) -> int:
    return sum(0 if is_lazy(p) else p.numel() for p in module.parameters(recurse=False))


def _dynamic_rows(model: nn.Module) -> Iterator[LayerRow]:
    counted: set[int] = set()
    for name, layer in model.named_modules():
        if not isinstance(layer, DynamicConv2d):
            continue
        branch = layer.attention
        own = [] if branch is None else [p for p in branch.parameters() if id(p) not in counted]
        counted.update(map(id, own))
        temperature = getattr(branch, "temperature", None)
        yield LayerRow(
            *(name, layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride),
            "same" if isinstance(layer, DynamicConv2dSame) else layer.padding,
            layer.groups,
            layer.num_kernels,
            layer.attention_kind or ("from outside" if branch is None else type(branch).__name__),
            _count(layer),
            sum(p.numel() for p in own),
            None if temperature is None or temperature.is_meta else float(temperature),
            layer.mixing,
            layer.backend,
        )


def _static_rows(convs: dict[str, nn.Module], refused: dict[str, str]) -> Iterator[LayerRow]:
    for name, conv in convs.items():
        yield LayerRow(
            *(name, conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.groups),
            bank=_count(conv),
            static=refused.get(name, "not chosen"),
        )
