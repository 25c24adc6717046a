"""Options of single parameters: which ones get them, what they do, and what is refused."""

import warnings

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from lightning_modules import ImageClassifier, ImageData, OptimizerSettings, ScheduleSettings
from lightning_modules.cli import main
from lightning_modules.optimizers import build_optimizer
from ops import ArgumentError


class Net(nn.Module):
    """Two layers, a norm, and a parameter that is in no layer."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)
        self.shift = nn.Parameter(torch.ones(3, 2))


def options(optimizer, net):
    """Return the options of every parameter by its name; each must be in one group."""
    names = {id(p): name for name, p in net.named_parameters()}
    found = [
        (names[id(p)], {k: v for k, v in group.items() if k != "params"})
        for group in optimizer.param_groups
        for p in group["params"]
    ]
    assert sorted(name for name, _ in found) == sorted(names.values())
    return dict(found)


@pytest.mark.parametrize("others", [{}, {"filter_bias_and_bn": False}, {"layer_decay": 0.5}, {"opt": "adamw"}])
def test_a_group_changes_its_options_and_nothing_else(others):
    net = Net()
    plain = options(build_optimizer(net, OptimizerSettings(**others)), net)
    groups = {r"^shift$": {"weight_decay": 1e-5}, r"\.bias$": {"lr": 0.3, "weight_decay": 1e-3}}
    split = options(build_optimizer(net, OptimizerSettings(groups=groups, **others)), net)
    for name, before in plain.items():
        changed = groups[r"^shift$"] if name == "shift" else groups[r"\.bias$"] if name.endswith("bias") else {}
        assert split[name] == {**before, **changed}


def test_the_first_expression_that_matches_decides():
    net = Net()
    for first, second, want in ((r"first", r"weight", 0.1), (r"weight", r"first", 0.2)):
        groups = {first: {"weight_decay": 0.1 if first == "first" else 0.2}, second: {"momentum": 0.5}}
        found = options(build_optimizer(net, OptimizerSettings(groups=groups)), net)["first.weight"]
        assert (found["weight_decay"], found["momentum"]) == (want, 0.9)


def test_weight_decay_of_a_group_reaches_its_parameters():
    net = Net()
    settings = OptimizerSettings(
        "sgd", lr=0.5, weight_decay=0.1, filter_bias_and_bn=False, groups={r"shift$": {"weight_decay": 0.01}}
    )
    optimizer = build_optimizer(net, settings)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in net.named_parameters():
        decay = 0.01 if name == "shift" else 0.1
        # A first step of Nesterov's rule goes by (1 + momentum) times the gradient, here that of the decay.
        torch.testing.assert_close(parameter.detach(), before[name] * (1 - 0.5 * 1.9 * decay))


def short_trainer(epochs, batches):
    return Trainer(
        max_epochs=epochs,
        limit_train_batches=batches,
        limit_val_batches=0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.mark.parametrize("schedule", [{"per_update": True}, {"warmup_epochs": 1}])
def test_schedule_scales_every_group_from_its_own_rate(schedule):
    settings = OptimizerSettings(lr=0.1, filter_bias_and_bn=False, groups={r"bias$": {"lr": 0.02}})
    classifier = ImageClassifier("test_resnet", optimizer=settings, schedule=ScheduleSettings("cosine", **schedule))
    seen = []
    classifier.on_train_batch_start = lambda *_: seen.append([g["lr"] for g in classifier.optimizers().param_groups])
    trainer = short_trainer(epochs=3, batches=2)
    trainer.fit(classifier, ImageData("digits", batch_size=4, image_size=32))
    rest, biases = torch.tensor(seen).T
    warm = slice(2, None) if "warmup_epochs" in schedule else slice(None)  # every group warms up from the same rate
    torch.testing.assert_close(biases[warm], rest[warm] / 5)
    assert rest[-1] < 0.9 * rest.max()


def test_an_expression_without_parameters_is_told():
    net = Net()
    with pytest.warns(UserWarning, match=r"groups: '\\\\.shft\$' matches no trained parameter.*like 'shift'"):
        build_optimizer(net, OptimizerSettings(groups={r"\.shft$": {"weight_decay": 0}}))
    with pytest.warns(UserWarning, match="'shift' matches no trained parameter that an earlier expression left"):
        build_optimizer(net, OptimizerSettings(groups={"s": {"weight_decay": 0.0}, "shift": {"weight_decay": 0.1}}))
    net.shift.requires_grad_(False)
    with pytest.warns(UserWarning, match="'shift'"):
        build_optimizer(net, OptimizerSettings(groups={"shift": {"weight_decay": 0.1}}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_optimizer(net, OptimizerSettings(groups={"first": {"weight_decay": 0.1}}))


@pytest.mark.parametrize(
    ("opt", "groups", "message"),
    [
        ("sgd", {"(": {"lr": 1.0}}, r"groups\['\('\]: got '\('.*; need a regular expression"),
        ("sgd", {"a": {"weigth_decay": 0.0}}, r"groups\['a'\]: got 'weigth_decay' \(did you mean 'weight_decay'.*'lr'"),
        ("sgd", {"a": {"betas": [0.9, 0.99]}}, "got 'betas'.*'momentum', 'nesterov'"),
        ("sgd", {"a": {"params": []}}, "got 'params'"),
        ("sgd", {"a": {}}, r"got \{\}; need a value for one or more of .*weight_decay"),
        ("sgd", {"a": {"lr": None}}, r"got \{'lr': None\}; need a value"),
        ("sgd", {"a": {"weight_decay": -1.0}}, "Invalid weight_decay.*need values that 'sgd' can use"),
        ("sgd", ["a"], r"optimizer.groups: got \['a'\]; need options for each regular expression"),
        ("sgd", {"a": 1}, r"groups\['a'\]: got 1; need options by name"),
        ("sgd", {1: {"lr": 1.0}}, r"groups\[1\]: got 1 .*; need a regular expression"),
        ("adamw", {"a": {"weight_decay": "1e"}}, "'1e'.*need values that 'adamw' can use"),
    ],
)
def test_wrong_groups_are_named(opt, groups, message):
    with pytest.raises(ArgumentError, match=message):
        OptimizerSettings(opt, groups=groups)


def test_resumed_run_keeps_its_groups(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fixed = [
        "fit",
        "--model.model=test_resnet",
        "--model.optimizer.opt=sgd",
        "--data.batch_size=4",
        "--data.image_size=32",
        "--trainer.limit_train_batches=2",
        "--trainer.limit_val_batches=1",
        "--trainer.limit_test_batches=1",
        "--trainer.enable_progress_bar=false",
        "--trainer.accelerator=cpu",
        "--wandb=disabled",
    ]
    (tmp_path / "groups.yaml").write_text(
        'model: {optimizer: {groups: {"\\\\.bias$": {weight_decay: 1e-3}, "^fc": {lr: 0.01}}}}'
    )

    def fit(name, epochs, *more):
        assert main([*fixed, f"--name={name}", f"--trainer.max_epochs={epochs}", *more]) == 0
        newest = max((tmp_path / "runs" / name).glob("version_*"), key=lambda p: int(p.name.split("_")[1]))
        return torch.load(newest / "checkpoints/last.ckpt", weights_only=True)

    whole = fit("whole", 2, "--config=groups.yaml")
    groups = whole["optimizer_states"][0]["param_groups"]
    assert [(g["weight_decay"], g["initial_lr"]) for g in groups] == [(0, 0.1), (1e-3, 0.1), (5e-4, 0.1), (5e-4, 0.01)]
    fit("parts", 1, "--config=groups.yaml")
    typed = '{"\\\\.bias$": {"weight_decay": 0.001}, "^fc": {"lr": 0.01}}'  # the same, as an option
    parts = fit("parts", 2, f"--model.optimizer.groups={typed}", "--ckpt_path=last")
    assert parts["optimizer_states"][0]["param_groups"] == groups
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(tensor, parts["state_dict"][name]), name

    turned = '{"^fc": {"lr": 0.01}, "\\\\.bias$": {"weight_decay": 0.001}}'
    for other in ([], [f"--model.optimizer.groups={turned}"]):
        assert main([*fixed, "--name=parts", "--trainer.max_epochs=3", "--ckpt_path=last", *other]) != 0
        assert "model.optimizer.groups: got {" in capsys.readouterr().err

    # Checkpoints from before there were groups have none.
    last = tmp_path / "runs/parts/version_1/checkpoints/last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    del checkpoint["hyper_parameters"]["optimizer"]["groups"]
    torch.save(checkpoint, last)
    assert main([*fixed, "--trainer.max_epochs=3", f"--ckpt_path={last}", "--config=groups.yaml"]) != 0
    assert "need {}, as in the checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("groups", [{}, {"a": {"lr": 1.0}}])
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"foo": 1}, r"optimizer.kwargs: got {'foo': 1} \(.*'foo'.*need arguments that 'sgd' can use"),
        ({"nesterov": True, "dampening": 0.5}, "Nesterov momentum requires"),
        ({"lr": 1.0}, "'lr' has an option of its own, model.optimizer.lr"),
        (["foo"], "need options by name"),
    ],
)
def test_wrong_arguments_of_the_optimizer_are_named(groups, kwargs, message):
    with pytest.raises(ArgumentError, match=message):
        OptimizerSettings("sgd", kwargs=kwargs, groups=groups)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ({}, {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.01}),
        ({"weight_decay": 0.01}, {"weight_decay": 0.0}),
        ({"opt": "adamw"}, {"opt": "adamw", "lr": 0.01, "kwargs": {}}),
    ],
)
@pytest.mark.parametrize("schedule", ["none", "constant"])
def test_settings_given_to_a_resumed_run_count(resumable, schedule, first, later):
    expected = resumable(later, 1, schedule)
    assert expected != resumable(first, 1, schedule)
    assert resumable(later, 2, schedule, resumed=True) == expected


@pytest.mark.parametrize(
    ("later", "message"),
    [
        ({"kwargs": {"nesterov": True}}, r"optimizer.kwargs: got {'nesterov': True}; need {}, as in the checkpoint"),
        ({"opt": "adamw"}, r"optimizer.opt: got adamw; need momentum, as in"),
        ({"momentum": 0.0}, r"optimizer.momentum: got 0.0; need a positive number, as in"),
    ],
)
def test_settings_that_the_state_of_the_optimiser_depends_on_are_refused(resumable, later, message):
    resumable({}, 1)
    with pytest.raises(ArgumentError, match=message):
        resumable(later, 2, resumed=True)


@pytest.fixture
def resumable(tmp_path):
    def fit(settings, epochs, schedule="none", resumed=False):
        """Train from the start or from the last checkpoint, and return the options of every group."""
        options = {"groups": {"bias$": {"weight_decay": 0.3}}, "filter_bias_and_bn": False, **settings}
        classifier = ImageClassifier(
            "test_resnet", optimizer=OptimizerSettings(**options), schedule=ScheduleSettings(schedule)
        )
        trainer = short_trainer(epochs, batches=1)
        path = tmp_path / "last.ckpt"
        trainer.fit(classifier, ImageData("digits", batch_size=4, image_size=32), ckpt_path=path if resumed else None)
        trainer.save_checkpoint(path)
        return [{k: v for k, v in group.items() if k != "params"} for group in trainer.optimizers[0].param_groups]

    return fit
