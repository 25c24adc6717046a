"""Folders for the Hub; nothing is sent: what would be is looked at."""

from pathlib import Path

import huggingface_hub.hf_api
import pytest
import timm
import torch
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, metadata_load
from safetensors.torch import load_file
from support.saved_weights import PREPARATION, RESNET, again, dynamic

import dyc
from dyc.export.model_card import ModelCard as Card
from dyc.export.weights import save_weights

CARD = Card(
    title="digits by a tiny network",
    license="MIT",
    dataset="scikit-learn's digits",
    recipe={"optimizer": "sgd", "lr": 0.1, "epochs": 2},
    metrics={"test/top1": 0.75, "test/loss": 0.5},
    tags=("digits",),
)


@pytest.fixture
def folder(tmp_path):
    save_weights(dynamic(), tmp_path / "saved", preparation=PREPARATION, card=CARD)
    return tmp_path / "saved"


def test_the_front_matter(folder):
    data = metadata_load(folder / "README.md")
    assert (data["license"], data["library_name"]) == ("mit", "timm")
    assert data["pipeline_tag"] == "image-classification"
    assert {"timm", "dyc", "dynamic-convolution", "digits"} <= set(data["tags"])
    [result] = ModelCard.load(folder / "README.md").data.eval_results
    assert (result.metric_name, result.metric_value) == ("test/top1", 0.75)


def test_the_text(folder):
    text = (folder / "README.md").read_text()
    count = sum(parameter.numel() for parameter in again(folder).parameters())
    assert f"| parameters | {count:,} |" in text
    assert f"| multiply-accumulates (MACs) | {dyc.profile(dynamic(), (1, 48, 40)).macs:,} |" in text
    assert "scikit-learn's digits" in text
    assert "| lr | 0.1 |" in text
    assert "import dyc  # registers" in text


@pytest.mark.parametrize(
    ("words", "name"), [("Example Corp. research only", "example-corp.-research-only"), ("Ü", "other")]
)
def test_any_other_licence(tmp_path, words, name):
    save_weights(dynamic(), tmp_path / "saved", card=Card(license=words))
    data = metadata_load(tmp_path / "saved/README.md")
    assert (data["license"], data["license_name"]) == ("other", name)
    assert words in (tmp_path / "saved/README.md").read_text()


def test_nothing_said(tmp_path):
    save_weights(timm.create_model(RESNET, num_classes=4), tmp_path / "saved")
    text = (tmp_path / "saved/README.md").read_text()
    assert "license" not in metadata_load(tmp_path / "saved/README.md")
    assert text.count("Not stated.") == 4
    assert "import dyc" not in text  # timm alone creates it


def test_the_folder_is_ready_to_be_uploaded(folder, monkeypatch):
    sent, cards = {}, []
    monkeypatch.setattr(huggingface_hub.hf_api, "is_xet_available", lambda: False, raising=False)
    monkeypatch.setattr(HfApi, "_validate_yaml", lambda self, content, **options: cards.append(content))
    monkeypatch.setattr(HfApi, "create_commit", lambda self, **options: sent.update(options))
    HfApi().upload_folder(repo_id="owner/name", folder_path=folder)
    files = {operation.path_in_repo: operation for operation in sent["operations"]}
    assert files.keys() == {"README.md", "config.json", "model.safetensors"}
    assert all(isinstance(each, CommitOperationAdd) and each.upload_info.size > 0 for each in files.values())
    assert cards == [(folder / "README.md").read_text()]  # what the Hub is asked to check


def test_timm_uploads_the_same_weights(folder, monkeypatch, tmp_path):
    def uploaded(api, *, folder_path, **options):
        return load_file(Path(folder_path) / "model.safetensors")

    class Made:
        repo_id = "owner/name"

    monkeypatch.setattr(HfApi, "create_repo", lambda self, *args, **options: Made)
    monkeypatch.setattr(HfApi, "file_exists", lambda self, **options: True)
    monkeypatch.setattr(HfApi, "upload_folder", uploaded)
    sent = timm.models.push_to_hf_hub(again(folder), "owner/name", safe_serialization=True)
    saved = load_file(folder / "model.safetensors")
    assert sent.keys() == saved.keys()
    assert all(torch.equal(sent[name], saved[name]) for name in saved)
