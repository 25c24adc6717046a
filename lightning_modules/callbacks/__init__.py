"""Callbacks: the training rules of the papers, and what is measured while training."""

from lightning_modules.callbacks.attention_monitor import AttentionMonitor
from lightning_modules.callbacks.between_steps import BetweenSteps
from lightning_modules.callbacks.checkpoint import BestCheckpoint, LastCheckpoint
from lightning_modules.callbacks.epoch_report import EpochReport
from lightning_modules.callbacks.epoch_seed import EpochSeed
from lightning_modules.callbacks.finite_loss import FiniteLoss
from lightning_modules.callbacks.mask_files import MaskFiles
from lightning_modules.callbacks.prediction_table import PredictionTable
from lightning_modules.callbacks.progress_bar import CompactProgressBar
from lightning_modules.callbacks.rewiring import ChannelRewiring
from lightning_modules.callbacks.run_settings import RunSettings
from lightning_modules.callbacks.segmentation_pictures import SegmentationPictures
from lightning_modules.callbacks.temperature import TemperatureAnnealing
from lightning_modules.callbacks.throughput import Throughput
from lightning_modules.callbacks.wandb_attention import WandbAttention
from lightning_modules.callbacks.wandb_predictions import WandbPredictions
from lightning_modules.callbacks.wandb_summary import WandbSummary

__all__ = [
    "AttentionMonitor",
    "BestCheckpoint",
    "BetweenSteps",
    "ChannelRewiring",
    "CompactProgressBar",
    "EpochReport",
    "EpochSeed",
    "FiniteLoss",
    "LastCheckpoint",
    "MaskFiles",
    "PredictionTable",
    "RunSettings",
    "SegmentationPictures",
    "TemperatureAnnealing",
    "Throughput",
    "WandbAttention",
    "WandbPredictions",
    "WandbSummary",
]
