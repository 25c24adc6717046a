"""What the metrics of ``published.csv`` are: how each is measured, and whether a smaller value is the better one."""

from dataclasses import dataclass

WAYS = ("train", "count", "latency", "follows", "none")
"""How a figure is measured: by training and testing, by counting, by timing; it follows from two other rows; or not."""


@dataclass(frozen=True)
class Metric:
    """A kind of figure.

    Args:
        how: One of :data:`WAYS`.
        label: What tables call it.
        smaller_is_better: Whether it is an error, a size or a time rather than an accuracy.
        key: Of what is trained: its name among the figures of a test.
    """

    how: str
    label: str
    smaller_is_better: bool = True
    key: str = "top1"


_TOP1 = Metric("train", "top-1 accuracy", False)
_ERROR = Metric("train", "top-1 error")
_PARAMETERS = Metric("count", "parameters")
_OPERATIONS = Metric("count", "operations")
_NOT_RUN = "none"

CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
"""CamVid's classes."""

METRICS = {
    "top1_accuracy": _TOP1,
    "top1": _TOP1,
    "top5": Metric("train", "top-5 accuracy", False, "top5"),
    "error": _ERROR,
    "top1_error": _ERROR,
    "params": _PARAMETERS,
    "params_static": _PARAMETERS,
    "params_derived": Metric("count", "parameters, to the last one"),
    "macs": _OPERATIONS,
    "macs_derived": Metric("count", "operations, to the last one"),
    "madds": _OPERATIONS,
    "madds_conv+fc+K*weights": Metric("count", "operations, mixing included"),
    "flops": _OPERATIONS,
    "flops_revised": Metric("count", "operations, as revised"),
    "flops_derived": Metric("count", "operations, to the last one"),
    "flops_derived_conv_only": Metric("count", "operations of the convolutions"),
    "flops_derived_with_coeff_and_fusion": Metric("count", "operations, coefficients and mixing included"),
    "forward_time": Metric("latency", "time of a forward pass"),
    "inference_time": Metric("latency", "time of a forward pass"),
    "speedup": Metric("follows", "speed-up", False),
    "top1_error_gap_stated": Metric("follows", "difference of the top-1 errors", False),
    "mIoU": Metric("train", "mean IoU", False, "miou"),
    **{f"IoU_{name}": Metric("train", f"IoU of {name}", False, f"iou/{name}") for name in CAMVID},
    "AP": Metric(_NOT_RUN, "average precision", False),
    "AP_gain": Metric(_NOT_RUN, "gain in average precision", False),
}
"""Every metric by its name in ``published.csv``, and those of our own comparisons."""
