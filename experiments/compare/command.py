"""``dyc compare``: runs side by side, as a table, a picture, a page or a report of W&B."""

import argparse
import sys
from collections.abc import Sequence

from experiments.compare.parser import compare_parser


def main(argv: Sequence[str]) -> None:
    """Run ``dyc compare ...``; ``argv`` starts with the command's name."""
    options = compare_parser().parse_intermixed_args(argv[1:])
    _check(options)
    runs = _runs(options)

    from experiments.compare.groups import group_by, group_by_settings, shortened, summarise
    from experiments.compare.settings import differences, mixed
    from experiments.compare.table import explanation, markdown_page, text_differences, text_table, write_csv

    if options.metric is None:
        options.metric = f"test/{runs[0].task.watched}"
    _check_metric(options.metric, runs)
    prefix, groups = ("", group_by(runs, options.by)) if options.by else shortened(group_by_settings(runs))
    summaries = [summarise(group, options.metric) for group in groups]
    members = [group.runs for group in groups]
    found = differences(members)
    notes = [
        f"Left out, as another run has the same settings and seed: {', '.join(group.older)}."
        for group in groups
        if group.older
    ]
    if prefix:
        notes.insert(0, f"All names begin with {prefix}")
    if inside := mixed(members):
        notes.append(f"Not only the seed differs within a row: {', '.join(inside)}.")
    if options.markdown is not None and str(options.markdown) == "-":
        print(markdown_page(summaries, options.metric, found, notes), end="")
    else:
        print(text_table(summaries, options.metric))
        print("\n".join(["", explanation(options.metric), *notes]))
        if found:
            print(f"\nwhat differs:\n{text_differences([each.name for each in summaries], found)}")
    written = {}
    if options.csv is not None:
        write_csv(options.csv, summaries, options.metric, found, prefix)
        written["table"] = options.csv
    if options.markdown is not None and str(options.markdown) != "-":
        from lightning_modules.disk import new_file

        with new_file("--markdown", options.markdown, encoding="utf-8") as file:
            file.write(markdown_page(summaries, options.metric, found, notes))
        written["Markdown"] = options.markdown
    if options.plot is not None:
        from experiments.compare.plots import save

        save(options.plot, groups, summaries, options.metric)
        written["picture"] = options.plot
    if options.html is not None:
        from experiments.compare.page import page, write

        write(options.html, page(groups, summaries, options.metric, found, notes))
        written["page"] = options.html
    if options.publish:
        from experiments.compare.publish import publish

        written["W&B report"] = publish(options.wandb, groups, summaries, options.metric, found)
    for label, place in written.items():
        print(f"{label}: {place}", file=sys.stderr if str(options.markdown) == "-" else sys.stdout)


def _check(options: argparse.Namespace) -> None:
    from lightning_modules.cli.arguments import check_new_file
    from ops import ArgumentError

    if options.wandb is None:
        if not options.names:
            raise ArgumentError("RUN", sentence="name the runs to compare, such as quickstart or 'cifar10/*'")
        for option, given in (("--group", options.group), ("--publish", options.publish)):
            if given:
                raise ArgumentError(option, sentence="needs --wandb ENTITY/PROJECT, whose runs it is about")
    elif options.wandb.count("/") != 1 or not all(options.wandb.split("/")):
        raise ArgumentError("--wandb", repr(options.wandb), "ENTITY/PROJECT")
    written: dict[str, str] = {}
    for name in ("csv", "plot", "html", "markdown"):
        path = getattr(options, name)
        if path is None or str(path) == "-":
            continue
        check_new_file(f"--{name}", path)
        if other := written.get(str(path.resolve())):
            raise ArgumentError(f"--{name}", repr(str(path)), f"another file than --{other}")
        written[str(path.resolve())] = name


def _runs(options: argparse.Namespace) -> list:
    """Return the runs that were asked for, and say on stderr which of them cannot be read."""
    from ops import ArgumentError

    if options.wandb is not None:
        from experiments.compare.api import read_project

        runs, problems = read_project(options.wandb, options.group, options.names)
    else:
        from experiments.compare.folders import find, read_all

        runs, problems = read_all(find(options.names, options.runs))
    if not runs and problems:
        raise ArgumentError("RUN", sentence=f"none can be read: {'; '.join(problems)}")
    for problem in problems:
        print(f"dyc compare: warning: left out: {problem}", file=sys.stderr)
    return runs


def _check_metric(metric: str, runs: Sequence) -> None:
    from ops import unknown_name

    known = sorted({name for run in runs for name in run.figures})
    usual = metric == f"test/{runs[0].task.watched}" and any(run.progress for run in runs)  # it comes at the end
    if metric not in known and not usual:
        raise unknown_name("--metric", metric, known, listing="a metric that these runs logged")
