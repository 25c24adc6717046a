"""Trainings that are killed by SIGKILL and go on: they end as those that were left alone, bit for bit.

``python tests/support/kills.py [KILLS [SEED]]`` kills so many, at random moments, and prints a table.
"""

import csv
import random
import sys
import tempfile
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from support.forked_fits import Fits  # noqa: E402

SHARED = [
    "--trainer.max_epochs=4",
    "--trainer.limit_train_batches=5",
    "--trainer.limit_val_batches=3",
    "--trainer.limit_test_batches=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--trainer.log_every_n_steps=1",
    "--data.batch_size=16",
    "--wandb=disabled",
    "--checkpoint_every=2",
    f"--import={HERE / 'own_callbacks.py'}",
]
DYNAMIC = [
    f"--import={HERE / 'dynamic_network.py'}",
    "--model.model=tiny_dynamic",  # with dropout
    "--model.regularization.mixup=0.2",
    "--model.schedule.sched=cosine",
]
CONFIGURATIONS = {
    "annealing and EMA": [
        *DYNAMIC,
        "--model.ema_decay=0.9",
        "--model.schedule.per_update=true",
        "--trainer.callbacks+=lightning_modules.TemperatureAnnealing",
        "--trainer.callbacks.epochs=3",
    ],
    "rewiring": [
        f"--import={HERE / 'selective_training.py'}",
        "--model.model=tiny_selective",
        "--model.ema_decay=0.9",
        "--model.schedule.sched=constant",
        "--trainer.callbacks+=lightning_modules.ChannelRewiring",
        "--trainer.callbacks.gamma=0.2",
        "--trainer.callbacks.until=4",
    ],
    "own schedule": [
        *DYNAMIC,
        "--trainer.accumulate_grad_batches=2",
        "--trainer.val_check_interval=2",
        "--trainer.callbacks+=own_callbacks.OwnSchedule",
    ],
}
TIMES = ("images_per_second", "data_time_share")
"""Ends of the names of figures that no two trainings share."""

MOMENTS = ("step", "validation", "writing", "renaming", "epoch_end", "time")


def last(folder: Path, name: str) -> Path:
    """Return the newest last checkpoint of the runs of a name."""
    return max(folder.glob(f"runs/{name}/version_*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)


def same(one, other) -> bool:
    """Tell whether two checkpoints have the same values; paths, which differ, are not compared."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one if key != "best_k_models")
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return (isinstance(one, str) and "/" in one) or one == other


def figures(folder: Path, name: str) -> dict:
    """Return the last value of every figure but speeds that the runs of a name have logged, by epoch, step and key."""
    found = {}
    for path in sorted(folder.glob(f"runs/{name}/version_*/metrics.csv"), key=lambda path: path.parent.name):
        for row in csv.DictReader(path.open()):
            values = {key: value for key, value in row.items() if value and not key.endswith(TIMES)}
            found |= {(row["epoch"], row["step"], key): value for key, value in values.items()}
    return found


def compared(folder: Path, name: str, reference: str) -> list[str]:
    """Return which parts of two finished trainings differ: of the last checkpoint, or a figure that was logged."""
    one, other = (torch.load(last(folder, each), weights_only=True) for each in (name, reference))
    parts = [
        key for key in ("state_dict", "optimizer_states", "callbacks", "global_step") if not same(one[key], other[key])
    ]
    position = "epoch_loop.batch_progress", "epoch_progress", "epoch_loop.state_dict"
    parts += [key for key in position if one["loops"]["fit_loop"][key] != other["loops"]["fit_loop"][key]]
    ours, theirs = figures(folder, name), figures(folder, reference)
    return parts + [key for key in theirs if ours.get(key) != theirs[key]]


class Campaign:
    """Kills trainings in a folder, and lets them go on.

    Args:
        fits: What starts them.
        folder: An empty folder.
    """

    def __init__(self, fits: Fits, folder: Path):
        self.fits, self.folder, self.done = fits, folder, []

    def reference(self, configuration: str) -> None:
        """Train undisturbed, once."""
        if configuration not in self.done:
            self.done.append(configuration)
            assert self.fits.run(self.words(configuration, configuration.replace(" ", "_")), self.folder) == 0

    def words(self, configuration: str, name: str) -> list[str]:
        """Return the arguments of a training by that name, which goes on where it can."""
        return [*SHARED, *CONFIGURATIONS[configuration], f"--name={name}", "--ckpt_path=auto"]

    def kill(self, configuration: str, moment: str, count: int) -> dict:
        """Kill a training at a moment, let it go on, and return how that went."""
        self.reference(configuration)
        name = f"killed{len(self.done)}"
        self.done.append(name)
        words = self.words(configuration, name)
        killer = ["--trainer.callbacks+=own_callbacks.Kill", f"--trainer.callbacks.moment={moment}"]
        ended = self.fits.run([*words, *killer, f"--trainer.callbacks.count={count}"], self.folder, log=f"{name}.txt")
        left = list(self.folder.glob(f"runs/{name}/version_0/checkpoints/last.ckpt"))
        step = torch.load(left[0], weights_only=True)["global_step"] if left else 0
        status = self.fits.run(words, self.folder, log=f"{name}.txt")
        assert status == 0, (self.folder / f"{name}.txt").read_text()
        differing = compared(self.folder, name, configuration.replace(" ", "_"))
        return {"ended": ended, "step": step, "differing": differing}


def main(kills: int = 20, seed: int = 0) -> None:
    """Kill trainings at random moments, and print how they went on."""
    draw, wrong = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder, Fits() as fits:
        campaign = Campaign(fits, Path(folder))
        for number in range(kills):
            configuration = list(CONFIGURATIONS)[number % 3]
            moment = draw.choice([*MOMENTS, "time", "time", *["rewiring"] * (2 * (configuration == "rewiring"))])
            most = {"time": 1500, "validation": 11, "step": 11, "epoch_end": 4, "rewiring": 6}.get(moment, 9)
            count = draw.randint(1, most)
            found = campaign.kill(configuration, moment, count)
            wrong += bool(found["differing"])
            how = "was over" if found["ended"] == 0 else f"killed, resumed from step {found['step']}"
            print(
                f"{configuration:<20}{moment:>11} {count:>5}  {how:<32}{found['differing'] or 'identical'}", flush=True
            )
    print(f"{kills} trainings, {wrong} differ")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
