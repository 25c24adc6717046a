"""What a resumed training takes from its checkpoint, what it takes from its own settings, and what has to fit."""

from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor
from torch.optim import Optimizer

from lightning_modules.training_options import OptimizerSettings
from ops import ArgumentError


def check_weights(checkpoint: dict[str, Any], own: dict[str, Tensor], model: str, num_classes: int) -> None:
    """Raise one ArgumentError, instead of a list of keys, unless a checkpoint's weights fit a network's ``own``."""
    saved = checkpoint["state_dict"]
    _check_conversion(saved, own, model)
    wrong = sorted(k for k in saved.keys() | own.keys() if k not in saved or k not in own)
    wrong += sorted(k for k in saved.keys() & own.keys() if saved[k].shape != own[k].shape)
    if wrong:
        trained = checkpoint.get("hyper_parameters", {})
        raise ArgumentError(
            "ckpt_path",
            f"a checkpoint of {trained.get('model')!r} with {trained.get('num_classes')} classes "
            f"({len(wrong)} tensors differ, such as {wrong[0]})",
            f"one of {model!r} with {num_classes} classes and the same settings",
        )


def _check_conversion(saved: dict[str, Tensor], own: dict[str, Tensor], model: str) -> None:
    """Raise ArgumentError if layers of the checkpoint are dynamic or selective that are static in the network."""
    dynamic = [k.removesuffix(".weight") for k in saved.keys() & own.keys() if saved[k].ndim == own[k].ndim + 1 == 5]
    selective = [k.removesuffix(".pointers") for k in saved.keys() - own.keys() if k.endswith(".pointers")]
    for kind, names in (("dynamic", dynamic), ("selective", selective)):
        if names:
            sentence = (
                f"{len(names)} layers of the checkpoint are {kind} that are static in {model!r}, such as "
                f"{min(names).removeprefix('net.')}; ImageClassifier({model!r}, {kind}=...) or --model.{kind} makes a "
                f"network that its checkpoints rebuild, where dyc.make_{kind}(classifier.net) does not; to load this "
                "one, pass the network converted in the same way: load_from_checkpoint(..., net=...)"
            )
            raise ArgumentError("ckpt_path", sentence=sentence)


def check_optimizer(given: Any, trained: dict[str, Any]) -> None:
    """Raise ArgumentError unless an optimiser can go on with the state that a checkpoint keeps, group by group.

    Learning rate, momentum and weight decay may differ; those of the resumed run count, see :func:`use_options`.

    Args:
        given: The fields of :class:`OptimizerSettings` of the resumed run, by name.
        trained: Those of the checkpoint.
    """
    for name in ("opt", "filter_bias_and_bn", "layer_decay", "groups", "kwargs"):
        want, got = trained.get(name, {}), given[name]  # groups are younger than the oldest checkpoints
        same = list(got.items()) == list(want.items()) if name == "groups" else _lists(got) == _lists(want)
        if not same:
            need = f"{want}, as in the checkpoint, whose optimiser state is resumed"
            raise ArgumentError(f"model.optimizer.{name}", got, need)
    want, got = trained.get("momentum"), given["momentum"]
    if want is not None and bool(want) != bool(got):  # with momentum, some optimisers keep more than without
        need = f"{'a positive number' if want else want}, as in the checkpoint, whose optimiser state is resumed"
        raise ArgumentError("model.optimizer.momentum", got, need)


def _lists(value: Any) -> Any:
    """Return options as YAML has them, which knows no tuples."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()} if isinstance(value, dict) else value


def given_options(optimizer: Optimizer, settings: OptimizerSettings) -> list[dict[str, Any]]:
    """Return, for each group of an optimiser just built, the options that its settings give."""
    names = {"lr", "momentum", "weight_decay"}.union(*settings.groups.values())
    return [{name: group[name] for name in names if name in group} for group in optimizer.param_groups]


def use_options(optimizer: Optimizer, given: list[dict[str, Any]]) -> None:
    """Let a resumed run's own options count: with its state, an optimiser has taken those of the checkpoint.

    Args:
        optimizer: The optimiser with the checkpoint's state.
        given: What :func:`given_options` returned before.
    """
    for group, options in zip(optimizer.param_groups, given):
        group.update(options)
        if "initial_lr" in group:
            group["initial_lr"] = options["lr"]


def epochs_behind(checkpoint: dict[str, Any]) -> int:
    """Return how many epochs a checkpoint has finished; one of the middle of an epoch has not finished that."""
    return checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]


def batches_behind(trainer: Trainer) -> int:
    """Return how many batches of the current epoch a training has behind it when it starts or goes on.

    It is 0 unless the checkpoint was written in the middle of an epoch, and all of them if only the validation is left.
    To be called in ``on_train_start``: Lightning does not call ``on_train_epoch_start`` for an epoch that goes on.
    """
    loop = trainer.fit_loop
    epoch = loop.epoch_progress.current
    return loop.epoch_loop.batch_progress.current.ready if loop.restarting and epoch.processed < epoch.started else 0


def only_validation_left(trainer: Trainer) -> bool:
    """Tell whether a training goes on after the last batch of an epoch, before its validation."""
    return batches_behind(trainer) == trainer.num_training_batches
