"""Settings are read from a command line as the parser reads them."""

from lightning_modules.cli.jobs.settings import flat, setting, settings_of


def test_later_ones_replace_earlier_ones_key_by_key(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("trainer: {max_epochs: 100, callbacks: [{class_path: A}]}\nmodel: {model: a, dynamic: dyc}\n")
    second.write_text("trainer: {max_epochs: 5}\n")
    words = [f"--config={first}", "--model.dynamic.where=blocks", "--config", str(second), "--data.download"]
    found = settings_of([*words, "--trainer.callbacks+=B", '--model.model_kwargs={"a": [1]}', "--trainer.precision=16"])
    assert flat(found) == {
        "trainer.max_epochs": 5,
        "trainer.callbacks": [{"class_path": "A"}, "B"],
        "trainer.precision": 16,
        "model.model": "a",
        "model.dynamic.where": "blocks",
        "model.model_kwargs.a": [1],
        "data.download": True,
    }
    assert setting(found, "trainer.max_epochs") == 5
    assert setting(found, "trainer.max_epochs.deeper", 1) == setting(found, "nothing", 1) == 1
