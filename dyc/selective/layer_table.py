"""What selective layers make of their channels, layer by layer: open, closed and re-allocated ones."""

from dataclasses import dataclass

from torch import nn

from dyc.layers.selective_conv import SelectiveConv2d
from dyc.selective.rewire_network import iter_selective
from dyc.text_table import aligned


@dataclass(frozen=True)
class SelectiveRow:
    """One selective layer, or the sum of several.

    ``channels`` inputs are ``open`` or ``closed``; ``reallocated`` ones are open and read another channel.
    ``parameters`` counts all that the layer holds: kernels, bias, norm and shifts. ``effective_parameters`` counts
    those that act on the output: kernels of open channels, the bias, two of the norm per open channel and two of the
    shift per re-allocated one.
    """

    name: str
    channels: int
    open: int
    closed: int
    reallocated: int
    parameters: int
    effective_parameters: int

    def cells(self) -> tuple[str, ...]:
        """Return what :class:`SelectiveTable` prints."""
        counts = (self.channels, self.open, self.closed, self.reallocated, self.parameters, self.effective_parameters)
        return (self.name, *(f"{count:,}" for count in counts))


HEADER = ("layer", "channels", "open", "closed", "re-allocated", "parameters", "effective")


class SelectiveTable(list[SelectiveRow]):
    """The rows of :func:`selective_layers`; ``print`` it for a table.

    Attributes:
        other_parameters: Parameters of the network outside its selective layers.
    """

    other_parameters: int = 0

    @property
    def total(self) -> SelectiveRow:
        """The selective layers together."""
        sums = (sum(column) for column in zip((0,) * 6, *([*vars(row).values()][1:] for row in self)))
        return SelectiveRow("total", *sums)

    @property
    def parameters(self) -> int:
        """Parameters of the network."""
        return self.other_parameters + self.total.parameters

    @property
    def effective_parameters(self) -> int:
        """Parameters of the network without those that only closed channels and unused shifts hold."""
        return self.other_parameters + self.total.effective_parameters

    def __str__(self) -> str:
        network = ("network", *[""] * 4, f"{self.parameters:,}", f"{self.effective_parameters:,}")
        return aligned(HEADER, [*(row.cells() for row in self), self.total.cells(), network], right=set(HEADER[1:]))


def selective_layers(model: nn.Module) -> SelectiveTable:
    """List the selective convolutions of a model, with the channels that they use.

    Args:
        model: Any model.

    Returns:
        A list of :class:`SelectiveRow` in the order of the network, with their ``total`` and the ``parameters`` and
        ``effective_parameters`` of the whole network; ``print`` it for a table.

    Raises:
        ArgumentError: ``model`` is no module.

    Example:
        >>> import dyc
        >>> layer = dyc.SelectiveConv2d(8, 4, 1)
        >>> layer.mask[5] = False
        >>> print(selective_layers(layer))
        layer    channels  open  closed  re-allocated  parameters  effective
                        8     7       1             0          64         42
        total           8     7       1             0          64         42
        network                                                64         42
    """
    layers = dict(iter_selective(model))
    table = SelectiveTable(_row(name, layer) for name, layer in layers.items())
    held = {parameter for layer in layers.values() for parameter in layer.parameters()}
    table.other_parameters = sum(p.numel() for p in model.parameters() if p not in held)
    return table


def _row(name: str, layer: SelectiveConv2d) -> SelectiveRow:
    weight, bias = layer.conv.weight, layer.conv.bias
    channels, opened, reallocated = layer.in_channels, int(layer.mask.sum()), int((layer.pointers >= 0).sum())
    return SelectiveRow(
        *(name, channels, opened, channels - opened, reallocated),
        sum(p.numel() for p in layer.parameters()),
        opened * (weight[:, 0].numel() + 2) + (0 if bias is None else bias.numel()) + 2 * reallocated,
    )
