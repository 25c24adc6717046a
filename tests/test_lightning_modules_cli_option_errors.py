"""Options that do not exist or cannot be used: one line, with what was probably meant."""

import pytest

from lightning_modules.cli import main

FIT = ["fit", "--model.model=test_resnet", "--data.image_size=32"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model.lr=1"], "--model.lr: there is no such option (did you mean '--model.optimizer.lr'?)"),
        (
            ["--trainer.max_epoch=1"],
            "--trainer.max_epoch: there is no such option (did you mean '--trainer.max_epochs'",
        ),
        (["--model.optimizer.lrr", "1"], "--model.optimizer.lrr: there is no such option (did you mean '--model.opt"),
        (["--nothing.like.it"], "--nothing.like.it: there is no such option; see --help"),
        (["--config=wrong.yaml"], "model.lr: there is no such option (did you mean '--model.optimizer.lr'?)"),
        (["--trainer.max_epochs=abc"], "trainer.max_epochs: got 'abc'; need int or null"),
        (["--data.batch_size=abc"], "data.batch_size: got 'abc'; need int"),
        (["--wandb=no"], "wandb: got 'no'; need one of 'auto', 'online', 'offline', 'disabled'"),
        (
            ["--trainer.precision=8bit"],
            "trainer.precision: got '8bit'; need one of 64, 32, 16, 'transformer-engine', "
            "'transformer-engine-float16', '16-true', '16-mixed', 'bf16-true', 'bf16-mixed', '32-true', '64-true', "
            "'bf16' or null",
        ),
        (
            ["--trainer.callbacks=TemperatureAnealing"],
            "trainer.callbacks: got 'TemperatureAnealing' (did you mean 'TemperatureAnnealing'?); "
            "need list[Callback] or Callback or null",
        ),
        (
            ["--trainer.callbacks+=lightning_modules.TemperatureAnealing"],
            "trainer.callbacks: TemperatureAnealing: module 'lightning_modules' has no attribute 'TemperatureAnealing' "
            "(did you mean 'TemperatureAnnealing'?)",
        ),
        (
            ["--trainer.logger=TensorBoardLogger"],
            "trainer.logger: TensorBoardLogger needs more; give --trainer.logger.save_dir",
        ),
        (
            ["--trainer.logger+=TensorBoardLogger"],
            "trainer.logger: TensorBoardLogger needs more; give --trainer.logger.save_dir",
        ),
        (["--trainer.callbacks+=lightning_modules.No"], "trainer.callbacks: No: module 'lightning_modules' has no"),
    ],
)
def test_the_error_is_one_line(tmp_path, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.yaml").write_text("model:\n  lr: 1\n")
    assert main([*FIT, *argv]) == 2
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 1
    assert shown[0].startswith(f"dyc fit: error: {message}")


def test_the_reason_of_a_logger_that_cannot_be_made_is_said_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "needy_logger.py").write_text(
        "from lightning.pytorch.loggers import CSVLogger\n\n\n"
        "class NeedyLogger(CSVLogger):\n"
        "    def __init__(self):\n"
        "        raise ModuleNotFoundError('needs `pip install needed`')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main([*FIT, "--trainer.logger=needy_logger.NeedyLogger"]) == 2
    shown = capsys.readouterr().err
    assert "dyc fit: error: NeedyLogger: needs `pip install needed`\n" in shown
    assert not (tmp_path / "runs").exists()
