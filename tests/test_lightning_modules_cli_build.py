"""``dyc build``: what is compiled ahead of its first use, and what is said where that fails."""

import re

import pytest

import ops
from lightning_modules.cli import main


@pytest.mark.usefixtures("backend_registry")
class TestBuild:
    @pytest.fixture(autouse=True)
    def _slow(self, backend_registry):
        self.made = []
        operators = {
            name: ops.Implementation(lambda *_: None, prepare=lambda name=name: self.made.append(name))
            for name in ("depthwise_conv2d", "rewire_channels")
        }
        for name, missing in (("slow", ()), ("absent", ("got no such chip, need one",))):
            build = ops.Backend(name, operators, missing=missing, build=lambda name=name: self.made.append(name))
            ops.register_backend(build)
        ops.register_backend(ops.Backend("cpp", operators, build=lambda: self.made.append("cpp")), replace=True)

    def test_everything_is_compiled_first_and_then_made_ready_once(self, capsys):
        assert main(["build", "slow"]) == 0
        assert self.made == ["slow", "depthwise_conv2d", "rewire_channels"]
        assert re.fullmatch(r"slow: ready, \d+\.\d s\n", capsys.readouterr().out)
        assert main(["build", "slow"]) == 0
        assert self.made == ["slow", "depthwise_conv2d", "rewire_channels", "slow"]

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (["slwo"], "BACKEND: got 'slwo' (did you mean 'slow'?)"),
            (["slow", "eagr"], "BACKEND: got 'eagr' (did you mean 'eager'?)"),
            (["slow", "absent"], "backend 'absent' cannot be built: got no such chip, need one"),
            (
                ["slow", "compile"],
                "BACKEND: 'compile' has nothing to compile ahead of its first use; choose among 'cpp'",
            ),
            (["auto"], "BACKEND: 'auto' has nothing to compile"),
        ],
    )
    def test_what_cannot_be_built_is_named_before_anything_is(self, names, message, capsys):
        assert main(["build", *names]) == 2
        assert message in capsys.readouterr().err
        assert self.made == []


def test_the_kernels_for_the_cpu_are_what_is_built():
    assert [status.name for status in ops.backends() if status.builds] == ["cpp"]
