"""Made-up records of the papers' rows, for the report."""

from pathlib import Path

from experiments import curves, records
from experiments.records import COLUMNS, Record

FACTS = {
    "hardware": "x86, 1 of 2 cores",
    "versions": "torch 2.14.1",
    "commit": "abc1234",
    "date": "2026-01-31",
    "command": "dyc run",
}


def record(path: str, metric: str, value: float, unit: str, protocol: str, **others: str) -> Record:
    """Return a record."""
    paper, _, row = path.partition("/")
    given = {"paper": paper, "row": row, "metric": metric, "value": str(value), "unit": unit, "protocol": protocol}
    return Record(**dict.fromkeys(COLUMNS, "") | FACTS | given | others)


def trained(path: str, metric: str, values: list[float], unit: str, protocol: str = "quick", **others: str):
    """Return the records of a training with several seeds."""
    facts = {"epochs": "20", "images_per_second": "150", "wall_seconds": "3600"} | others
    return [record(path, metric, value, unit, protocol, seed=str(seed), **facts) for seed, value in enumerate(values)]


def write(results: Path) -> Path:
    """Write records of each kind of figure, and return their folder."""
    rows = []
    for path, values in {
        "dyc/table1/cifar10/static": [0.912, 0.916, 0.914],
        "dyc/table1/cifar10/dy": [0.905, 0.925, 0.915],
        "dyc/table1/cifar10/dyc": [0.918, 0.92, 0.922],
        "dyc/table1/cifar100/static": [0.7],
        "dyc/table1/cifar100/dyc": [0.69],
        "dyc/temperature/cifar100/tau1": [0.65, 0.66, 0.67],
    }.items():
        rows += trained(path, "top1_accuracy", values, "fraction")
        for name, size, unit in (("parameters", 2_300_000 + len(rows) * 10**5, "count"), ("macs", 33e6, "MACs")):
            rows += trained(path, name, [size + 10**5 * len(rows)] * len(values), unit)
    rows += trained("dyc/table1/cifar10/dyc", "top1_accuracy", [0.93, 0.932], "fraction", "full", epochs="100")
    rows += trained("selectconv/table1/cifar10/densenet40", "error", [6.0, 6.2], "%", "full", epochs="300")
    rows += trained("selectconv/table1/cifar10/select_densenet40", "error", [5.5, 5.7], "%", "full", epochs="300")
    rows += [
        record("dyc/table2/cifar10/dyc", "params", 8.008538, "M", "count"),
        record("dyc/table2/cifar10/dyc", "macs", 0.09667, "G", "count"),
        record("dyc/table2/cifar10/dy", "params", 3.577458, "M", "count"),
        record("dyc/table2/cifar10/static", "params", 2.4, "M", "count"),
    ]
    for table, factor in (("table3", 1.0), ("table4", 0.05)):
        for size, name, ms, ratio in (
            (32, "static", 6.0, None), (32, "dy", 9.0, 1.5), (32, "dyc", 9.2, 1.533), (256, "dyc", 30.0, 1.1),
            (512, "dyc", 120.0, 1.05),
        ):  # fmt: skip
            path = f"dyc/{table}/random{size}/{name}"
            load = {"hardware": f"x86, 2 of 2 cores, load {ratio or 0.25}"}
            rows.append(record(path, "forward_time", ms * factor, "ms", "latency", **load))
            if ratio is not None:
                rows.append(record(path, "forward_time_ratio", ratio, "x", "latency", **load))
    for name, ms in (("resnet18", 60.0), ("dynet_resnet18", 40.0)):
        rows.append(record(f"dynet/table2/imagenet/{name}", "inference_time", ms, "ms", "latency"))
    for path, values in {"static": [50.0, 51.0, 52.0], "dyc": [55.0, 54.0, 53.0]}.items():
        rows += trained(f"own/segmentation/camvid/{path}", "mIoU", values, "%")
        rows += trained(f"own/segmentation/camvid/{path}", "IoU_sky", [90.0, 91.0, 92.0], "%")
        rows.append(record(f"own/segmentation/camvid/{path}", "params", 0.28 + len(path), "M", "count"))
        values = {"val/miou": {epoch: 0.5 - 0.3 / epoch for epoch in range(1, 21)}}
        curves.append("own", curves.epochs_of(f"segmentation/camvid/{path}", "0", "quick", values), results)
    records.append(rows, results)
    for name, temperature in {
        "table1/cifar10/static": None,
        "table1/cifar10/dyc": lambda epoch: 30,
        "table1/cifar100/dyc": lambda epoch: 30,
        "temperature/cifar100/tau1": lambda epoch: 1,
        "temperature/cifar100/annealed": lambda epoch: max(1, 30 - 3 * (epoch - 1)),
    }.items():
        for seed in range(3):
            epochs = range(1, 21)
            values = {
                "train/loss": {epoch: 2 / epoch for epoch in epochs},
                "val/top1": {epoch: 0.9 - 0.5 / epoch - 0.01 * (seed + len(name) % 5) for epoch in epochs},
            }
            if temperature is not None:
                values["attention/temperature"] = {epoch: temperature(epoch) for epoch in epochs}
                values["attention/entropy"] = {epoch: 1 - 0.02 * epoch for epoch in epochs}
            curves.append("dyc", curves.epochs_of(name, str(seed), "quick", values), results)
    return results
