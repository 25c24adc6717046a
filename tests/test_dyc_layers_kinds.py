"""A new kind of attention is one new file: in dyc/layers/attentions, or in a distribution of its own."""

import sys
from pathlib import Path

import pytest
import torch

import dyc
import ops
from dyc.layers import attention_kinds, attentions, kinds

ROOT = Path(__file__).parents[1]

KIND = """
import torch
from torch import nn

import dyc


class Newcomer(nn.Module):
    def __init__(self, in_channels, out_channels, num_kernels, *, kernel_size, temperature):
        super().__init__()
        self.fc = nn.Linear(in_channels, num_kernels)
        self.kernel_size = kernel_size

    def forward(self, x):
        taps = x.new_ones(len(x), *self.kernel_size)
        return dyc.KernelAttention(torch.softmax(self.fc(x.amax((2, 3))), 1), taps=taps)

"""
BUILD = "return Newcomer(*sizes, kernel_size=kernel_size, temperature=temperature)\n"
REGISTER = "dyc.register_attention('newcomer', Newcomer)\n"


@pytest.fixture(autouse=True)
def _registry():
    """Let a test register kinds and load entry points; both are put back afterwards."""
    before, loaded, modules = dict(kinds._KINDS), set(kinds._LOADED), set(sys.modules)
    kinds._LOADED.clear()
    yield
    kinds._KINDS.clear()
    kinds._KINDS.update(before)
    kinds._LOADED.clear()
    kinds._LOADED.update(loaded)
    for name in set(sys.modules) - modules:
        if name.split(".")[-1] in ("newcomer", "newcomer_kind"):
            del sys.modules[name]


def run_newcomer() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(6, 8, (3, 5), bias=False))
    x = torch.randn(2, 6, 9, 8)
    want = model(x)
    torch.testing.assert_close(dyc.make_dynamic(model, "newcomer", where="0")(x), want)
    assert model[0].attention.kernel_size == (3, 5)


def test_a_file_in_the_folder_is_enough(tmp_path, monkeypatch):
    (tmp_path / "newcomer.py").write_text(KIND + REGISTER)
    monkeypatch.setattr(attentions, "__path__", [*attentions.__path__, str(tmp_path)])
    kinds.import_modules(attentions.__name__, attentions.__path__)  # what importing the package does
    assert sys.modules["dyc.layers.attentions.newcomer"].__file__ == str(tmp_path / "newcomer.py")
    run_newcomer()


def test_every_kind_of_its_own_is_named_in_one_file_only():
    """Nothing names the kinds that came as files, besides documentation and shorter ONNX graphs for some of them."""
    for kind in ("CondConvAttention", "ODConvAttention"):
        files = [file for file in (ROOT / "dyc").rglob("*.py") if kind in file.read_text()]
        assert {f"{file.parent.name}/{file.name}" for file in files} - {"onnx/branches.py"} == {
            f"attentions/{kind.removesuffix('Attention').lower()}.py"
        }


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Install a distribution into an empty folder, as a wheel would: a module and its metadata."""

    def install(source: str, **entries: str) -> Path:
        (tmp_path / "newcomer_kind.py").write_text(source)
        info = tmp_path / "newcomer_kind-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: newcomer-kind\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(["[dyc.attentions]", *lines, ""]))
        monkeypatch.syspath_prepend(tmp_path)
        return tmp_path

    return install


@pytest.mark.parametrize(
    ("source", "value"),
    [
        (KIND + REGISTER, "newcomer_kind"),
        (f"{KIND}def register():\n    {REGISTER}", "newcomer_kind:register"),
        (KIND, "newcomer_kind:Newcomer"),
        (KIND + REGISTER, "newcomer_kind:Newcomer"),
        (f"{KIND}def build(*sizes, kernel_size, temperature):\n    {BUILD}", "newcomer_kind:build"),
        (f"{KIND}import functools\nbuild = functools.partial(Newcomer)", "newcomer_kind:build"),
    ],
    ids=["module", "callable", "class", "registered_class", "factory", "partial"],
)
def test_a_distribution_is_found_when_its_kind_is_asked_for(distribution, source, value):
    distribution(source, newcomer=value)
    dyc.DynamicConv2d(4, 4, 1, attention="dyc")
    assert "newcomer_kind" not in sys.modules, "a name that is known needs no search"
    assert not kinds._LOADED
    run_newcomer()
    assert "newcomer" in attention_kinds()


BROKEN = {
    "no_module": ("", "no_such_module", "No module named 'no_such_module'"),
    "no_attribute": ("", "newcomer_kind:missing", "has no attribute 'missing'"),
    "raises": ("raise OSError('no licence')", "newcomer_kind", "OSError: no licence"),
    "taken": (
        "import dyc\ndyc.register_attention('dy', dyc.GlobalAttention)",
        "newcomer_kind",
        "'dy' is taken by",
    ),
}


def test_a_class_whose_arguments_all_have_defaults_is_registered_too(distribution):
    source = KIND.replace("in_channels, out_channels, num_kernels,", "in_channels=1, out_channels=1, num_kernels=2,")
    source = source.replace("kernel_size, temperature", "kernel_size=(3, 5), temperature=1.0")
    distribution(source, newcomer="newcomer_kind:Newcomer")
    run_newcomer()


@pytest.mark.parametrize(("source", "value", "reason"), BROKEN.values(), ids=BROKEN)
def test_one_that_fails_is_warned_of_once_by_name(distribution, source, value, reason, recwarn):
    before = attention_kinds()
    kinds._LOADED.clear()
    distribution(source, broken=value)
    with pytest.raises(ops.ArgumentError, match="attention: got 'newcomer'"):
        dyc.DynamicConv2d(4, 4, 1, attention="newcomer")
    assert attention_kinds() == before
    said = [str(w.message) for w in recwarn if "failed to load" in str(w.message)]
    assert len(said) == 1
    assert f"'broken' ({value}) of the distribution 'newcomer-kind'" in said[0]
    assert reason in said[0]


class TestWrongArguments:
    @pytest.mark.parametrize(
        ("name", "factory", "message"),
        [
            (
                "dyc",
                dyc.GlobalAttention,
                r"name: 'dyc' is taken by dyc\.layers\.attention\.GlobalAttention; .* pass replace=True",
            ),
            ("", dyc.GlobalAttention, "name: got ''; need a name"),
            (3, dyc.GlobalAttention, "name: got 3; need a name"),
            ("new", torch.nn.Identity(), "factory: got Identity; need a class or function"),
            ("new", "newcomer", "factory: got str; need a class or function"),
        ],
        ids=["taken", "empty", "number", "module", "word"],
    )
    def test_of_register_attention(self, name, factory, message):
        with pytest.raises(ops.ArgumentError, match=message):
            dyc.register_attention(name, factory)

    @pytest.mark.parametrize(
        ("attention", "message"),
        [
            (4, "attention: got 4; need a name, a factory or a module"),
            (lambda *_, temperature: None, r"attention: got a NoneType from .*<lambda>; need an nn.Module"),
        ],
        ids=["number", "factory"],
    )
    def test_of_a_layer(self, attention, message):
        with pytest.raises(ops.ArgumentError, match=message):
            dyc.DynamicConv2d(4, 4, 1, attention=attention)


def test_factories_get_what_their_signature_names():
    seen = []

    def factory(in_channels, out_channels, num_kernels, temperature, groups, **options):
        seen.append({"groups": groups, **options})
        return torch.nn.Identity()

    dyc.DynamicConv2d(4, 8, 3, groups=2, attention=factory, attention_kwargs={"depth": 1})
    assert seen == [{"groups": 2, "depth": 1}]


def test_a_copy_follows_the_scales_that_an_attention_offers():
    class Tripled(torch.nn.Module):
        sums_to_one = False
        copy_scale = 1 / 3

        def __init__(self, *_, temperature):
            super().__init__()

        def forward(self, x):
            return x.new_full((len(x), 2), 1.5)

    model, x = torch.nn.Sequential(torch.nn.Conv2d(4, 6, 3)), torch.randn(2, 4, 5, 5)
    want = model(x)
    torch.testing.assert_close(dyc.make_dynamic(model, Tripled, where="0", num_kernels=2)(x), want)
