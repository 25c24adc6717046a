"""``dyc build``: what is prepared ahead of its first use, and what is said where that fails."""

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
        ops.register_backend(ops.Backend("slow", operators))
        ops.register_backend(ops.Backend("absent", operators, missing=("got no such chip, need one",)))

    def test_every_operator_of_a_backend_is_prepared_once(self, capsys):
        assert main(["build", "slow"]) == 0
        assert self.made == ["depthwise_conv2d", "rewire_channels"]
        assert capsys.readouterr().out.startswith("slow: ready, 0.0 s")
        assert main(["build", "slow"]) == 0
        assert len(self.made) == 2

    def test_the_kernels_for_the_cpu_are_what_is_built_unless_told_otherwise(self, capsys):
        operators = {"depthwise_conv2d": ops.Implementation(lambda *_: None, prepare=lambda: self.made.append("cpp"))}
        ops.register_backend(ops.Backend("cpp", operators), replace=True)
        assert main(["build"]) == 0
        assert self.made == ["cpp"]

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (["slwo"], "BACKEND: got 'slwo' (did you mean 'slow'?)"),
            (["slow", "eagr"], "BACKEND: got 'eagr' (did you mean 'eager'?)"),
            (["absent"], "backend 'absent' cannot be made ready: got no such chip, need one"),
            (["auto"], "BACKEND: got 'auto'; need one of 'eager'"),
        ],
    )
    def test_what_cannot_be_built_is_named_before_anything_is(self, names, message, capsys):
        assert main(["build", *names]) == 2
        assert message in capsys.readouterr().err
        assert self.made == []
