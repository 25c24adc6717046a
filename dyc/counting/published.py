"""The parameters and operations that papers print for their networks, and how ours compare.

One row per printed figure. ``status`` is ``"published"`` where the paper's own text was read, ``"quoted"`` where later
papers quote it, ``"derived"`` where it follows from other numbers of the paper.
"""

from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal

from dyc.counting.profile import Profile

UNITS = {"M": 10**6, "G": 10**9, "Mi": 2**20}
"""What a unit is worth; Mi are the binary millions in which some papers count."""

DY = "Dynamic Convolution, https://arxiv.org/abs/1912.03458"
DYC = "Jung, Dynamic Channel-wise Convolution, 2020"
DYNET = "DyNet, https://arxiv.org/abs/2004.10694"
EAM = "EAM-DyNet, https://doi.org/10.3390/app11073111"
SELECT = "SelectConv, http://proceedings.mlr.press/v97/jeong19c.html"


@dataclass(frozen=True)
class Figure:
    """One number that a paper prints about a network.

    Args:
        model: Name in timm's registry.
        value: The number as printed, ``"12.89"``.
        unit: Its unit, ``"M"``, ``"G"`` or ``"Mi"``.
        convention: How operations are counted, see :mod:`dyc.counting.conventions`; empty for parameters.
        paper: The paper.
        table: The table.
        status: ``"published"``, ``"quoted"`` or ``"derived"``.
        note: Why it does not reproduce, or what it rests on.
        arguments: Model arguments that it is about.
        classifier: Whether the classifier is counted.
        tolerance: Difference in units of the last printed digit that still counts as the same.
    """

    model: str
    value: str
    unit: str
    convention: str
    paper: str
    table: str
    status: str = "published"
    note: str = ""
    arguments: dict = field(default_factory=dict)
    classifier: bool = True
    tolerance: int = 0

    @property
    def quantity(self) -> str:
        """``"parameters"`` or ``"operations"``."""
        return "operations" if self.convention else "parameters"

    def counted(self, profile: Profile) -> int:
        """Return what the figure is about, counted in its convention."""
        if not self.convention:
            return profile.parameters
        return profile.count(self.convention, classifier=self.classifier)

    def gap(self, profile: Profile) -> float:
        """Return how far the count is from the figure, as a fraction of the figure."""
        return self.counted(profile) / (float(self.value) * UNITS[self.unit]) - 1

    def reproduces(self, profile: Profile) -> bool:
        """Return whether the count, rounded to the printed digits, is the figure."""
        printed = Decimal(self.value)
        digit = Decimal(1).scaleb(printed.as_tuple().exponent)
        rounded = (Decimal(self.counted(profile)) / UNITS[self.unit]).quantize(digit, ROUND_HALF_UP)
        return abs(rounded - printed) <= self.tolerance * digit


_MORE = "the paper counts 0.9% to 1.8% more than convolutions, attention and mixing; what else is not known"
_GOOGLE = "2.9M and 66M are the figures of MobileNetV3's authors; the PyTorch network has 2.54M and 56.5M"
_MISPRINT = "misprint: the paper's table 2 has 12.89M for the same network"
_RESNET = "read as 2^20, as the static 11.1M (11.69M) suggests; the exact choice of layers is not known"
_REVISED = "inferred from percentages in the revised text, to within 1"
_ROUNDED = "counts to the authors' unit differ; how they counted is not known"
_SHUFFLE = "the structure that gives 88 and 92 at x1.0 gives 168.2 here; unresolved"
_SHIFTS = "before channels close; ours has shifts too, two for each input channel of a 1x1 convolution"
_T2, _DY, _FIRST, _TEXT = "table2_params_flops", "table_imagenet", "table1_imagenet", "revised text"
_SMALL, _LARGE = "table1_small_datasets", "table2_imagenet"
_T4, _T5 = "table4_dynamic_vs_fixed", "table5_quarter_vs_rcr_cgr"
_EVERY, _CGR = {"select": "every"}, {"select": "cgr"}

FIGURES = (
    # DYC
    Figure("mobilenetv2_cifar", "2.3", "M", "", DYC, "table2_params_macs"),
    Figure("mobilenetv2_cifar", "0.09", "G", "macs", DYC, "table2_params_macs"),
    Figure("dy_mobilenetv2_cifar", "3.58", "M", "", DYC, "table2_params_macs"),
    Figure("dy_mobilenetv2_cifar", "0.09", "G", "macs", DYC, "table2_params_macs"),
    Figure("dyc_mobilenetv2_cifar", "8.01", "M", "", DYC, "table2_params_macs"),
    Figure("dyc_mobilenetv2_cifar", "0.10", "G", "macs", DYC, "table2_params_macs"),
    # Dynamic Convolution
    Figure("mobilenetv2_100", "3.5", "M", "", DY, _DY, "quoted"),
    Figure("mobilenetv2_100", "300", "M", "macs", DY, _DY, "quoted", "300.8 is cut rather than rounded"),
    Figure("mobilenetv2_050", "2.0", "M", "", DY, _DY, "quoted"),
    Figure("mobilenetv2_050", "97", "M", "macs", DY, _DY, "quoted"),
    Figure("mobilenetv3_small_100", "2.9", "M", "", DY, _DY, "quoted", _GOOGLE),
    Figure("mobilenetv3_small_100", "66", "M", "macs", DY, _DY, "quoted", _GOOGLE),
    Figure("mobilenetv3_large_100", "219", "M", "macs", DY, _DY, "published", "the figure of MobileNetV3's authors"),
    Figure("resnet18", "11.1", "Mi", "", DY, _DY, "quoted", "read as 2^20"),
    Figure("resnet18", "1.81", "G", "macs", DY, _DY, "quoted"),
    Figure("dy_mobilenetv2_100", "11.1", "M", "", DY, _DY, "quoted"),
    Figure("dy_mobilenetv2_100", "312.9", "M", "macs+mixing", DY, _DY, "quoted", _MORE),
    Figure("dy_mobilenetv2_075", "217.5", "M", "macs+mixing", DY, _DY, "quoted", _MORE),
    Figure(
        "dy_mobilenetv2_050", "4.0", "M", "", DY, _DY, "quoted", "3.95M with the 1x1 head static, 4.57M with it dynamic"
    ),
    Figure("dy_mobilenetv2_050", "101.4", "M", "macs+mixing", DY, _DY, "quoted", _MORE),
    Figure("dy_mobilenetv3_small_100", "4.8", "M", "", DY, _DY, "quoted", _GOOGLE),
    Figure("dy_mobilenetv3_small_100", "68.5", "M", "macs+mixing", DY, _DY, "quoted", _GOOGLE),
    Figure("dy_resnet18", "42.7", "Mi", "", DY, _DY, "quoted", _RESNET),
    Figure("dy_resnet18", "1.85", "G", "macs+mixing", DY, _DY, "quoted", "the exact choice of layers is not known"),
    Figure("dy_resnet18", "45.47", "M", "", DY, "reimplementations", "quoted", "", {"dynamic_shortcut": True}),
    # DyNet
    Figure("dynet_shuffle_100", "88", "Mi", "conv", DYNET, _FIRST, classifier=False),
    Figure("dynet_shuffle_100", "92", "Mi", "macs+mixing", DYNET, _TEXT, "derived", _REVISED, {}, False, 1),
    Figure("dynet_shuffle_150", "171", "Mi", "conv", DYNET, _T4, "published", _SHUFFLE, classifier=False),
    Figure("fix_shuffle_150", "171", "Mi", "conv", DYNET, _T4, "published", _SHUFFLE, classifier=False),
    Figure("dynet_mobile_100", "129", "M", "conv", DYNET, _FIRST, classifier=False),
    Figure("dynet_mobile_100", "135", "M", "macs+mixing", DYNET, _TEXT, "derived", _REVISED, {}, False, 1),
    Figure("fix_mobile_100", "129", "M", "conv", DYNET, _T4, classifier=False),
    Figure("dynet_resnet18", "550", "Mi", "conv", DYNET, _FIRST, "published", "550.7 is cut rather than rounded"),
    Figure("dynet_resnet18", "567", "Mi", "macs+mixing", DYNET, _TEXT, "derived", _REVISED, tolerance=1),
    Figure("dynet_resnet50", "1075", "Mi", "conv", DYNET, _FIRST),
    Figure("dynet_resnet50", "1116", "Mi", "macs+mixing", DYNET, _TEXT, "derived", _REVISED, tolerance=1),
    Figure("resnet18", "1730", "Mi", "conv", DYNET, _FIRST),
    Figure("resnet50", "3890", "Mi", "conv", DYNET, _FIRST, "published", _ROUNDED),
    Figure("mobilenetv2_100", "298", "M", "conv", DYNET, _FIRST, "published", _ROUNDED),
    # EAM-DyNet, 100 classes
    Figure("gap_mobilenetv1", "14.27", "M", "", EAM, _T2),
    Figure("gap_mobilenetv1", "589.70", "M", "eam", EAM, _T2),
    Figure("eam_mobilenetv1", "12.89", "M", "", EAM, _T2),
    Figure("eam_mobilenetv1", "583.55", "M", "eam", EAM, _T2),
    Figure("eam_mobilenetv1", "8.98", "M", "", EAM, _T5, "published", _MISPRINT),
    Figure("eam_mobilenetv1", "583.55", "M", "eam", EAM, _T5),
    Figure("eam_mobilenetv1_cgr", "12.89", "M", "", EAM, _T2),
    Figure("eam_mobilenetv1_cgr", "583.55", "M", "eam", EAM, _T2),
    Figure("eam_mobilenetv1_cgr", "8.98", "M", "", EAM, _T5, "published", _MISPRINT),
    Figure("eam_mobilenetv1_cgr", "583.55", "M", "eam", EAM, _T5),
    Figure("eam_mobilenetv1", "13.48", "M", "", EAM, _T5, arguments=_EVERY),
    Figure("eam_mobilenetv1", "585.17", "M", "eam", EAM, _T5, arguments=_EVERY),
    Figure("gap_mobilenetv2", "11.25", "M", "", EAM, _T2),
    Figure("gap_mobilenetv2", "336.34", "M", "eam", EAM, _T2),
    Figure("eam_mobilenetv2", "8.98", "M", "", EAM, _T2),
    Figure("eam_mobilenetv2", "327.42", "M", "eam", EAM, _T2),
    Figure("eam_mobilenetv2", "8.98", "M", "", EAM, _T2, arguments=_CGR),
    Figure("eam_mobilenetv2", "327.42", "M", "eam", EAM, _T2, arguments=_CGR),
    # SelectConv, 10 classes in its first table
    Figure("densenet40", "0.21", "M", "", SELECT, _SMALL),
    Figure("densenet100", "1.00", "M", "", SELECT, _SMALL),
    Figure("preresnet164", "1.66", "M", "", SELECT, _SMALL),
    Figure("resnext29_8x64d", "33.8", "M", "", SELECT, _SMALL),
    Figure("densenet121", "7.98", "M", "", SELECT, _LARGE),
    Figure("preresnet50", "22.8", "M", "", SELECT, _LARGE),
)
# The paper prints the same numbers for the selective networks.
FIGURES += tuple(replace(f, model=f"select_{f.model}", note=_SHIFTS) for f in FIGURES if f.paper == SELECT)


def figures(model: str) -> list[Figure]:
    """Return what papers print about ``model``, the most direct figure of each quantity first.

    Names without a width, such as ``"dy_mobilenetv2"``, are those of the full width, ``"dy_mobilenetv2_100"``.
    """
    return [figure for figure in FIGURES if figure.model in (model, f"{model}_100")]
