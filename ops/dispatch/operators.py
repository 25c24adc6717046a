"""The operators that a backend can have: their names, and what runs where a backend lacks one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Operator:
    """One operator of the registry.

    Args:
        name: Key in :attr:`ops.Backend.operators`.
        call: How an implementation is called, with checked arguments; ``window`` is an :class:`ops.Window`.
        what: What it computes, for errors and listings.
        part: The operator that does the same together with plain PyTorch: a backend that has the part but not the
            whole runs the part.
    """

    name: str
    call: str
    what: str
    part: str | None = None


DEPTHWISE = "depthwise_conv2d"
DYNAMIC_DEPTHWISE = "dynamic_depthwise"
ATTENDED_DEPTHWISE = "attended_depthwise"
PER_SAMPLE = "per_sample_conv2d"
FEATURE_MIXING = "feature_mixing"
REWIRE = "rewire_channels"

OPERATORS = {
    operator.name: operator
    for operator in (
        Operator(
            DEPTHWISE,
            "run(x, weight, window): x (B, C, H, W), weight (B, C, kH, kW)",
            "depthwise convolutions",
        ),
        Operator(
            DYNAMIC_DEPTHWISE,
            "run(x, bank, attention, window): bank (K, C, kH, kW), attention (B, K) or (B, K, C)",
            "depthwise convolutions that mix a bank of kernels",
            part=DEPTHWISE,
        ),
        Operator(
            ATTENDED_DEPTHWISE,
            "run(x, bank, branch, window): bank (K, C, 1, kH, kW), branch an ops.GlobalBranch",
            "depthwise convolutions that predict their attention",
            part=DYNAMIC_DEPTHWISE,
        ),
        Operator(
            PER_SAMPLE,
            "run(x, kernels, window, groups): kernels (B, C_out, C_in/groups, kH, kW)",
            "dense, grouped and pointwise convolutions",
        ),
        Operator(
            FEATURE_MIXING,
            "run(x, bank, attention, bias, window, groups): bank (K, C_out, C_in/groups, kH, kW), bias (K, C_out)",
            "convolutions whose feature maps are mixed",
        ),
        Operator(
            REWIRE,
            "run(x, slots, sources, shift), arguments as ops.rewire_channels",
            "channels replaced by shifted copies",
        ),
    )
}
"""Every operator by name. Outputs have the memory format of ``x``, and are differentiable."""


def with_parts(name: str) -> tuple[str, ...]:
    """Return the operator and the parts that may stand for it, the whole first.

    Example:
        >>> with_parts("dynamic_depthwise")
        ('dynamic_depthwise', 'depthwise_conv2d')
    """
    part = OPERATORS[name].part
    return (name,) if part is None else (name, *with_parts(part))
