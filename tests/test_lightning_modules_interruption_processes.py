"""Real processes of ``dyc fit`` that a signal ends: they go on as if nothing had been."""

import os
import signal
import time

import pytest
from support.kills import SHARED, Campaign, compared, last
from support.processes import HANGS

pytestmark = pytest.mark.exhaustive  # a process takes seconds to start; the parts are tested by themselves


@pytest.fixture(scope="module")
def campaign(fits, tmp_path_factory):
    return Campaign(fits, tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize(
    ("configuration", "moment", "count"),
    [("rewiring", "rewiring", 2), ("rewiring", "writing", 4), ("own schedule", "validation", 8)],
)
def test_a_kill_changes_nothing(campaign, configuration, moment, count):
    found = campaign.kill(configuration, moment, count)
    assert found == {"ended": -signal.SIGKILL, "step": found["step"], "differing": []}
    assert found["step"] > 0


def stopped(campaign, number, words, moment, **environment):
    """Train until a moment, send a signal, and return the exit status and what was said.

    Python reports an end by SIGINT as -2, a shell as 130; a shell's loop goes on after ``exit 130``.
    """
    now, log = campaign.folder / "now", campaign.folder / f"{moment}.txt"
    now.unlink(missing_ok=True)
    wait = ["--trainer.callbacks+=own_callbacks.Wait", f"--trainer.callbacks.moment={moment}"]
    process = campaign.fits.start([*words, *wait], campaign.folder, log=log.name, **environment)
    end = time.monotonic() + HANGS
    while not now.exists() and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process, number)
    return campaign.fits.wait(process), log.read_text()


def test_sigusr1_of_slurm_in_a_validation(campaign):
    slurm = {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "12345", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0"}
    slurm |= {"SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NODELIST": "here", "SLURM_NNODES": "1"}
    words = campaign.words("own schedule", "slurm")
    campaign.reference("own schedule")
    status, said = stopped(campaign, signal.SIGUSR1, words, "validation", **slurm)
    assert (status, "1 steps and 0 of 4 epochs are trained" in said) == (138, True), said
    assert not list(campaign.folder.glob("hpc*"))  # Lightning's own way, which would ask for another run
    assert campaign.fits.run(words, campaign.folder) == 0
    assert compared(campaign.folder, "slurm", "own_schedule") == []


def test_ctrl_c_in_a_step(campaign):
    words = campaign.words("rewiring", "ctrl_c")
    status, said = stopped(campaign, signal.SIGINT, words, "step")
    assert (status, "3 steps and 0 of 4 epochs are trained" in said) == (-signal.SIGINT, True), said
    assert "interrupted; resume with --ckpt_path" in said
    assert "Traceback" not in said
    assert last(campaign.folder, "ctrl_c").exists()


@pytest.mark.parametrize("moment", ["first", "loading"])
def test_sigterm_while_images_are_read(campaign, write_classes, moment):
    """An image that takes ten minutes is not waited for."""
    write_classes(campaign.folder / "images" / "train", 16)
    write_classes(campaign.folder / "images" / "val", 2)
    data = ["--data.dataset=folder", "--data.root=images", "--data.num_workers=0", "--data.image_size=32"]
    words = [*SHARED, "--model.model=test_resnet", *data, "--data.batch_size=8", f"--name={moment}"]
    status, said = stopped(campaign, signal.SIGTERM, words, moment)
    expected = "before the first checkpoint" if moment == "first" else "3 steps and 0 of 4 epochs are trained"
    assert (status, expected in said) == (143, True), said
