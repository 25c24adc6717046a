"""Fixtures shared by the tests."""

import os

import pytest
import torch

from ops import registry

os.environ["WANDB_MODE"] = "offline"  # whoever runs the tests, nothing leaves the machine


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def backend_registry():
    """Let a test register backends; the registry, its order included, is put back afterwards."""
    before = dict(registry._REGISTRY)
    yield
    registry._REGISTRY.clear()
    registry._REGISTRY.update(before)
