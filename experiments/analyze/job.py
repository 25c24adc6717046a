"""What an analysis is given: its options, its networks, their images, and where to write."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from experiments.analyze.found import Found, analyses
from experiments.analyze.output import Output
from lightning_modules.cli.progress import Progress
from lightning_modules.tasks import USUAL
from ops import ArgumentError

if TYPE_CHECKING:  # with Lightning, for which --help need not wait
    from experiments.analyze.networks import Network


class Job:
    """One run of an analysis.

    Args:
        found: The analysis.
        options: Its options.
        data_options: Those of the data, as on the command line.
        output: Takes its tables and pictures.
    """

    def __init__(self, found: Found, options: argparse.Namespace, data_options: Sequence[str], output: Output):
        self.found, self.options, self.output = found, options, output
        self._data_options = list(data_options)

    def networks(self, dynamic: bool | None = None) -> "list[Network]":
        """Return the networks, before images are read: whatever can be wrong about them is checked first.

        Args:
            dynamic: Refuse static networks; by default as the analysis says.

        Raises:
            ArgumentError: One cannot be opened, there are too many, or the analysis is not for one of them.
        """
        from experiments.analyze.networks import labelled, open_network
        from lightning_modules.cli.imports import import_given
        from lightning_modules.cli.quiet import quiet

        options = self.options
        most = options.most or len(options.networks)
        if len(options.networks) > most:
            raise ArgumentError(
                "CHECKPOINT_OR_MODEL", f"{len(options.networks)} networks", f"at most {most}" if most > 1 else "one"
            )
        quiet()
        imported = import_given(options)
        opened = [open_network(each, options, self._data_options, imported) for each in options.networks]
        found = labelled(opened, getattr(options, "labels", None))
        for network in found:
            if self.found.classifies and network.task != USUAL:
                others = ", ".join(each.name for each in analyses().values() if not each.classifies)
                sentence = f"{network.label} was trained for {network.task}, and {self.found.name} is about the top-1 "
                sentence += f"accuracy of a classifier; for {network.task} there are {others}"
                raise ArgumentError("CHECKPOINT_OR_MODEL", sentence=sentence)
            if (self.found.dynamic if dynamic is None else dynamic) and not network.dynamic:
                self.refuse_static(network)
        return found

    def with_images(self, networks: "Sequence[Network]") -> "list[Network]":
        """Return networks with the images that they are shown.

        Raises:
            ArgumentError: The images cannot be read.
        """
        from experiments.analyze.networks import with_images

        opened: dict = {}
        return [with_images(each, self.options, self._data_options, opened) for each in networks]

    def refuse_static(self, network: "Network") -> None:
        """Raise an error that says which analyses a static network has."""
        others = ", ".join(each.name for each in analyses().values() if not each.dynamic)
        sentence = f"{network.label} has no dynamic layers, and {self.found.name} is about their {self.found.dynamic}; "
        raise ArgumentError("CHECKPOINT_OR_MODEL", sentence=f"{sentence}for static networks there are {others}")

    @contextmanager
    def progress(self, total: int) -> Iterator[Progress]:
        """Yield what shows on stderr how far the work is; ``at(label)`` says what comes next."""
        with Progress(total) as shown:
            yield shown
