"""A training whose process is a few lines of Python: it writes the files of a run, and loads no PyTorch."""

import csv
import os
import signal
import sys
import time
from pathlib import Path

if __name__ != "__main__":
    import torch

    from lightning_modules.cli.jobs.training import Training

    class FakeTraining(Training):
        """A training that :func:`command` stands for, also in other processes."""

        def command(self, kind: str) -> list[str]:
            """Return the command of the fake."""
            return command(self, kind)


def command(training: "Training", kind: str) -> list[str]:
    """Return what stands for ``Training.command``; folders ``fail``, ``wait``, ``slow``, ``bad`` and ``mask`` do so."""
    words = [str(training.folder), kind, str(training.epochs), str(training.runs / "checkpoint")]
    return [sys.executable, __file__, *words, *training.arguments]


def write_checkpoint(path: Path, epochs: int) -> None:
    """Write a checkpoint of so many epochs, without a network."""
    path.parent.mkdir(parents=True, exist_ok=True)
    loops = {"fit_loop": {"epoch_progress": {"current": {"processed": epochs}}}}
    settings = {"model": "fake", "model_kwargs": {}, "optimizer": {}}
    torch.save({"loops": loops, "hyper_parameters": settings, "state_dict": {}}, path)


def main(folder: Path, kind: str, epochs: int, checkpoint: Path) -> None:
    """Train: write an epoch at a time, and test figures at the end."""

    def save(*_: object) -> None:
        (part / "checkpoints").mkdir(exist_ok=True)
        (part / "checkpoints" / "last.ckpt").write_bytes(checkpoint.read_bytes())
        sys.exit(143)

    signal.signal(signal.SIGTERM, save)
    part = folder / f"version_{len(list(folder.glob('version_*')))}"
    part.mkdir(parents=True)
    (part / "config.yaml").write_text(f"trainer: {{max_epochs: {epochs}}}\n")
    print("kind", kind, "threads", os.environ.get("OMP_NUM_THREADS"), "gpu", os.environ.get("CUDA_VISIBLE_DEVICES"))
    if "fail" in folder.parts:
        print("dyc fit: error: data.root: got nothing")
        sys.exit(2)
    task = "miou" if "mask" in folder.parts else "top1"
    with (part / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "train/loss", f"val/{task}", "train/images_per_second"])
        for epoch in range(1 if kind == "interrupted" else 0, epochs):
            writer.writerow([epoch, 2.0, 0.25 * (epoch + 1), 100.0 + epoch])
            file.flush()
            while "wait" in folder.parts and kind == "new":
                time.sleep(0.02)
    if "slow" in folder.parts:
        time.sleep(1)
    if "bad" in folder.parts:
        raise RuntimeError("a fault of the program")
    if task == "miou":
        (part / "test.csv").write_text("network,test/miou,test/iou/sky\nlast epoch,0.6,0.9\n")
        return
    (part / "test.csv").write_text("network,test/loss,test/top1\nlast epoch,1.0,0.75\nbest on validation,1.0,0.8\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
