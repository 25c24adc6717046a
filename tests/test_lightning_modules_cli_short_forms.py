"""``--model.dynamic NAME`` beside ``--model.dynamic.where``, on the command line and in YAML files."""

import sys

import pytest
import yaml

from lightning_modules.cli.option_errors import OneLineParser
from lightning_modules.cli.short_forms import expand
from lightning_modules.cli.training import DycCLI
from lightning_modules.conversion_settings import settings_of
from lightning_modules.tasks import USUAL
from ops import ArgumentError

ODCONV = {"attention": "odconv", "attention_kwargs": {"zero_init": True}}


@pytest.mark.parametrize(
    ("argv", "written", "expected"),
    [
        ("--model.dynamic dy", [], "--model.dynamic.attention=dy"),
        ("--model.dynamic=dy --model.dynamic.where x", [], "--model.dynamic.attention=dy --model.dynamic.where=x"),
        ("--model.dynamic.where=x --model.dynamic dy", [], "--model.dynamic.where=x --model.dynamic.attention=dy"),
        ("--model.dynamic null", ["dy"], "--model.dynamic=null"),
        ("--model.dynamic.where=x", ["dy"], "--model.dynamic.attention=dy --model.dynamic.where=x"),
        ("--model.dynamic.where=x", [{"attention": "dy"}], "--model.dynamic.where=x"),
        ("--model.dynamic.attention odconv", ["dy"], "--model.dynamic.attention=odconv"),
        ("--model.dynamic dy", [ODCONV], "--model.dynamic.attention_kwargs={} --model.dynamic.attention=dy"),
        ("--model.dynamic odconv", [ODCONV], "--model.dynamic.attention=odconv"),
        ("--model.dynamic dy", [ODCONV, "dyc"], "--model.dynamic.attention=dy"),
        ("--model.dynamic dyc", [False], "--model.dynamic.attention=dyc"),
        ('--model.dynamic={"attention":"dy"}', [], '--model.dynamic={"attention":"dy"}'),
        ("--model.dynamic.where *[56]: ", [], "--model.dynamic.where=*[56]:"),
        ("--model.selective true", [], "--model.selective=true"),
        ("--model.selective false", [], "--model.selective=null"),
        ("--model.selective.where=x --model.selective true", [], "--model.selective.where=x"),
        ("--model.selective.where x", [True], "--model.selective.where=x"),
        ("--model.model x", [None], "--model.model x"),
        ("--model.dynamic.help", ["dy"], "--model.dynamic.help"),
    ],
)
def test_forms(argv, written, expected):
    group = "selective" if "selective" in argv else "dynamic"
    configs = [{}, *({"model": {group: value}} for value in written)]
    assert expand(argv.split(), configs) == expected.split()


@pytest.mark.parametrize(
    ("argv", "written", "message"),
    [
        (["--model.dynamic.wher=x"], {}, r"model\.dynamic: got 'wher' \(did you mean 'where'\?\)"),
        (["--model.selective.where", "x", "--model.selective.realocate=x"], {}, "got 'realocate'"),
        (["--model.dynamic", "--name=x"], {}, r"model\.dynamic: needs a value"),
        (["--model.dynamic"], {}, r"model\.dynamic: needs a value"),
        (["--model.dynamic.where", "--name=x"], {}, r"model\.dynamic\.where: needs a value"),
        (["--model.dynamic.num_kernels", "x"], {}, r"model\.dynamic\.num_kernels: got 'x'; need an int"),
        (["--model.dynamic={temperature: hot}"], {}, r"model\.dynamic\.temperature: got 'hot'; need a number"),
        (["--model.selective=maybe"], {}, r"model\.selective: got 'maybe'; need True"),
        ([], {"selective": "maybe"}, r"model\.selective: got 'maybe'; need True"),
        ([], {"dynamic": 3}, r"model\.dynamic: got 3; need the name of an attention"),
        ([], {"dynamic": "dcy"}, r"model\.dynamic\.attention: got 'dcy'"),
        ([], {"selective": {"drop_rate": True}}, r"model\.selective\.drop_rate: got True; need a number"),
        ([], {"dynamic": {"attention_kwargs": 3}}, r"model\.dynamic\.attention_kwargs: got 3; need arguments"),
        ([], {"dynamic": {"kernels": 3}}, r"model\.dynamic: got 'kernels' \(did you mean 'num_kernels'\?\)"),
    ],
)
def test_unknown_fields_are_named(argv, written, message):
    with pytest.raises(ArgumentError, match=message):
        expand(argv, [{"model": written}])


@pytest.mark.parametrize(
    ("content", "argv", "attention", "kwargs"),
    [
        ("dynamic: false", [], None, None),
        ("dynamic: false", ["--model.dynamic.where=blocks"], "dyc", {}),
        ("dynamic: {attention: odconv, attention_kwargs: {zero_init: true}}", ["--model.dynamic=dy"], "dy", {}),
        (
            "dynamic: {attention: odconv, attention_kwargs: {zero_init: true}}",
            ["--model.dynamic=dy", "--model.dynamic.attention_kwargs.reduction=8"],
            "dy",
            {"reduction": 8},
        ),
    ],
)
def test_the_parser_reads_what_was_meant(tmp_path, monkeypatch, content, argv, attention, kwargs):
    (tmp_path / "x.yaml").write_text(f"model: {{model: test_resnet, {content}}}\n")
    argv = ["fit", f"--config={tmp_path / 'x.yaml'}", *argv]
    monkeypatch.setattr("sys.argv", ["dyc", *expand(argv, [yaml.safe_load((tmp_path / "x.yaml").read_text())])])
    monkeypatch.setattr(
        DycCLI, "_parse_ckpt_path", lambda cli: found.append(cli.config["fit"]["model"]["dynamic"]) or sys.exit()
    )
    found = []
    with pytest.raises(SystemExit):
        DycCLI("fit", USUAL, parser_class=OneLineParser)
    settings = settings_of("dynamic", found[0] and vars(found[0]))
    assert (settings and settings.attention) == attention
    assert (settings and settings.attention_kwargs) == kwargs
