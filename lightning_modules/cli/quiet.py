"""Advice of Lightning that does not apply to ``dyc``, and is not shown."""

import logging
import warnings


def quiet() -> None:
    """Silence advice of Lightning that does not apply here; warnings of substance stay."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",  # data sets in memory use none
        ".*Checkpoint directory .* exists and is not empty.*",  # best and last share their folder
        ".*smaller than the logging interval.*",  # figures are logged once per epoch
        ".*Experiment logs directory .* exists and is not empty.*",  # W&B's folder is in it; every run has its own
        ".*isinstance.treespec, LeafSpec.*",  # between Lightning and PyTorch
        ".*when using `ckpt_path`, callbacks used to create.*",  # an evaluation needs none of them
        ".*module.s. in eval mode at the start of training.*",  # the moving average
        ".*recommended to use .*sync_dist=True.*",  # figures of one process are logged by the first alone
        ".*Couldn't infer the batch indices.*",  # predictions are written in the order of the data
    ):
        warnings.filterwarnings("ignore", message)
