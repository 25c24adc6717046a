"""Folders of weights of networks that classify every pixel: what is built again is the network that was saved."""

import json
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import ModelCard as Card
from support.saved_weights import again, assert_same_outputs, used

import dyc
from dyc.export.model_card import ModelCard
from dyc.export.weights import save_weights
from dyc.segmentation import create_backbone, create_segmentation
from dyc.segmentation.backbone import whole

PREPARATION = {
    "input_size": [3, 64, 64],
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.3, 0.4],
    "class_names": ["a", "b", "c", "d", "e"],
    "palette": [[k, k, k] for k in range(5)],
}


def network(name="test_resnet", **options):
    return create_segmentation(name, 5, **{"output_stride": 16, **options})


@pytest.mark.parametrize(
    ("name", "where", "options"),
    [
        ("test_resnet", "blocks", {"head": "deeplabv3", "output_stride": 8, "auxiliary": True}),
        ("dyc_mobilenetv2_035", None, {"num_kernels": 3, "in_chans": 1}),
        ("dla46x_c", "level2", {"output_stride": 32, "auxiliary": True}),
        pytest.param("dynet_resnet18", None, {"head": "deeplabv3"}, marks=pytest.mark.exhaustive),
    ],
)
def test_it_is_built_again(tmp_path, name, where, options):
    net = network(name, **options)
    if where:
        dyc.make_dynamic(whole(net.backbone), "dyc", where=where)
    used(net)
    size = [options.get("in_chans", 3), 64, 64]
    said = {**PREPARATION, "input_size": size, **({"mean": [0.5], "std": [0.2]} if size[0] == 1 else {})}
    assert save_weights(net, tmp_path / "saved", preparation=said) == 0
    loaded = again(tmp_path / "saved")
    assert_same_outputs(loaded, net, *size)
    assert loaded.preparation == {"palette": PREPARATION["palette"]}
    assert loaded.pretrained_cfg["label_names"] == PREPARATION["class_names"]
    save_weights(loaded, tmp_path / "twice")
    config, twice = (json.loads((tmp_path / f / "config.json").read_text()) for f in ("saved", "twice"))
    assert twice == config


def test_the_model_card(tmp_path):
    metrics = {"test/loss": 0.5, "test/miou": 0.25, "test/pixel_accuracy": 0.75, "test/iou/stop": 0.125}
    card = ModelCard(dataset="signs", metrics=metrics)
    save_weights(network(), tmp_path / "saved", preparation=PREPARATION, card=card)
    said = Card.load(tmp_path / "saved/README.md").data
    assert (said.pipeline_tag, said.metrics) == ("image-segmentation", ["mean_iou", "accuracy"])
    results = {result.metric_name: (result.task_type, result.metric_value) for result in said.eval_results}
    kind = "image-segmentation"
    assert results == {"test/miou": (kind, 0.25), "test/pixel_accuracy": (kind, 0.75)}
    text = (tmp_path / "saved/README.md").read_text()
    for row in ("| backbone | test_resnet |", "| head | fcn |", "| output stride | 16 |", "| test/iou/stop | 0.125 |"):
        assert row in text


def test_another_number_of_classes_and_of_channels(tmp_path):
    net = used(network(auxiliary=True))
    save_weights(net, tmp_path / "saved", preparation=PREPARATION)
    x = torch.randn(2, 3, 32, 32)
    other = again(tmp_path / "saved", num_classes=7)
    assert other(x).shape == (2, 7, 32, 32)
    assert torch.equal(other.backbone(x)[1], net.backbone(x)[1])
    assert not again(tmp_path / "saved", in_chans=1)(x[:, :1]).isnan().any()


@pytest.mark.parametrize("compact", [False, True], ids=["selective", "compact"])
def test_a_network_with_closed_channels(tmp_path, compact):
    net = used(network("select_densenet40", output_stride=4, layers=(1, 1, 1)))
    if compact:
        net = dyc.compact(net, input_size=(3, 32, 32)).eval()
    save_weights(net, tmp_path / "saved", preparation={"input_size": [3, 32, 32]})
    assert_same_outputs(again(tmp_path / "saved"), net, 3, 32, 32)


def test_what_cannot_be_saved(tmp_path, raises):
    net = network()
    with raises("preparation", "2 class_names", "5, the classes of the network"):
        save_weights(net, tmp_path / "saved", preparation={"class_names": ["a", "b"]})
    net.classifier.append(torch.nn.Conv2d(5, 5, 1))
    with raises("model", "a SegmentationNetwork that was changed by hand", "one that its name"):
        save_weights(net, tmp_path / "saved", preparation={"input_size": [3, 32, 32]})
    assert not list(Path(tmp_path).iterdir())


def test_it_is_no_backbone(tmp_path, raises):
    save_weights(used(network()), tmp_path / "saved", preparation=PREPARATION)
    with raises("model", "a network that classifies every pixel is no backbone of another"):
        create_backbone(f"local-dir:{tmp_path / 'saved'}", 16)
    with raises("backbone", "None", "the name of a network, as config.json has it"):
        timm.create_model("dyc_segmentation")
