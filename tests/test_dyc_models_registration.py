"""timm's weights, by tag, of the networks that are made from timm's."""

import pytest
import timm
from timm.models import get_arch_pretrained_cfgs

from dyc.models.registration import with_static_weights

MADE_FROM = {
    "dy_mobilenetv2": "mobilenetv2_100",
    "dyc_mobilenetv2": "mobilenetv2_100",
    "dyc_mobilenetv2_140": "mobilenetv2_140",
    "dy_mobilenetv3_small": "mobilenetv3_small_100",
    "dyc_mobilenetv3_large_100": "mobilenetv3_large_100",
    "dy_resnet50": "resnet50",
    "dyc_resnext50_32x4d": "resnext50_32x4d",
    "select_densenet121": "densenet121",
}


def tags(name: str) -> dict[str, str]:
    return {cfg.tag: cfg.hf_hub_id for cfg in get_arch_pretrained_cfgs(name).values()}


@pytest.mark.parametrize("name", MADE_FROM)
def test_the_tags_are_those_of_the_static_network(name):
    assert tags(name) == tags(MADE_FROM[name])
    ours, theirs = timm.get_pretrained_cfg(name), timm.get_pretrained_cfg(MADE_FROM[name])
    assert (ours.tag, ours.url, ours.hf_hub_id, ours.crop_pct) == (
        theirs.tag,
        theirs.url,
        theirs.hf_hub_id,
        theirs.crop_pct,
    )
    assert ours.architecture == name
    assert timm.models.is_model_pretrained(f"{name}.{ours.tag}")


def test_a_tag_describes_the_network():
    model = timm.create_model("dyc_mobilenetv3_large.miil_in21k", device="meta")
    assert (model.num_classes, model.pretrained_cfg["mean"]) == (11221, (0.0, 0.0, 0.0))
    with pytest.raises(RuntimeError, match=r"Invalid pretrained tag \(ra_in2k\) for dyc_mobilenetv2"):
        timm.create_model("dyc_mobilenetv2.ra_in2k", pretrained=True)


@pytest.mark.parametrize("name", ["dyc_mobilenetv2_035", "dy_mobilenetv2_075", "dyc_resnet10", "dyc_mobilenetv1"])
def test_without_weights_in_timm_there_is_no_tag(name):
    assert tags(name) == {None: None}
    with pytest.raises(RuntimeError, match="No pretrained weights exist"):
        timm.create_model(name, pretrained=True)


def test_another_number_of_classes_is_kept_where_no_tag_is_named():
    """EAM-DyNet's networks have 100 classes; timm's weights are for 1000."""
    assert tags("eam_mobilenetv3_small") == {None: None} | tags("mobilenetv3_small_100")
    assert timm.create_model("eam_mobilenetv3_small", device="meta").num_classes == 100
    assert timm.create_model("eam_mobilenetv3_small.lamb_in1k", device="meta").num_classes == 1000


def test_the_description_is_the_own_one_where_timm_has_none():
    own = {"num_classes": 1000, "crop_pct": 0.5}
    assert with_static_weights("new", "mobilenetv2_035", own).default.crop_pct == 0.5
