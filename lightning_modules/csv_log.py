"""``metrics.csv``, of which a full disk or a kill takes nothing that it had."""

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment

from lightning_modules.disk import append_whole, naming
from lightning_modules.whole_files import written_whole


class WholeWriter(ExperimentWriter):
    """Adds whole rows, and replaces the file where columns are new; Lightning's own empties it before that."""

    def log_hparams(self, params: dict[str, Any]) -> None:
        """Write ``hparams.yaml``."""
        with naming(Path(self.log_dir) / self.NAME_HPARAMS_FILE):
            super().log_hparams(params)

    def save(self) -> None:
        """Write what was logged since the last call.

        Raises:
            OSError: The file cannot be written; it has its former rows.
        """
        if not self.metrics:
            return
        path, rows = Path(self.metrics_file_path), self.metrics
        columns, there = sorted(set(self.metrics_keys).union(*rows)), path.is_file()
        new_columns = columns != self.metrics_keys
        if there and new_columns:
            with path.open(newline="") as file:
                rows = [*csv.DictReader(file), *rows]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns)
        if new_columns or not there:
            writer.writeheader()
        writer.writerows(rows)
        if there and not new_columns:
            append_whole(path, text.getvalue())
        else:
            with written_whole(path) as file:
                file.write(text.getvalue().encode())
        self.metrics, self.metrics_keys = [], columns


class WholeCSVLogger(CSVLogger):
    """Lightning's logger with a :class:`WholeWriter`."""

    @property
    @rank_zero_experiment
    def experiment(self) -> WholeWriter:
        """The writer, which is made when it is first asked for."""
        if self._experiment is None:
            self._fs.makedirs(self.root_dir, exist_ok=True)
            self._experiment = WholeWriter(log_dir=self.log_dir)
        return self._experiment
