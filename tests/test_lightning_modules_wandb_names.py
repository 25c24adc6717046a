"""Names and tags that W&B takes."""

import pytest

from lightning_modules.loggers import build_loggers
from lightning_modules.wandb_names import check_project, shortened, shortened_tags


def test_long_names_are_cut_to_the_limit_and_stay_apart():
    long = ["x" * 200 + end for end in "ab"]
    first, second = (shortened(text, 128) for text in long)
    assert len(first) == len(second) == 128
    assert first != second
    assert first == shortened(long[0], 128)  # the same in every process
    assert shortened("x" * 128, 128) == "x" * 128


def test_tags_are_neither_empty_nor_doubled():
    assert shortened_tags(["a", "", "b", "a"]) == ["a", "b"]


@pytest.mark.parametrize("project", ["", "a/b", "x" * 129], ids=["empty", "slash", "long"])
def test_a_project_that_wandb_refuses_is_an_error_before_training(tmp_path, project, raises):
    with raises("wandb_project", repr(project), "a name of at most 128 characters"):
        check_project(project)
    with raises("wandb_project", repr(project), "a name of at most 128 characters"):
        build_loggers(tmp_path, "name", "offline", project, [])


def test_shortening_is_said_once(tmp_path, capsys):
    name, tag = "folder/" * 20, "tag" * 30
    logger = build_loggers(tmp_path / "version_3", name, "offline", "project", [tag, "short"])[1]
    options = logger._wandb_init
    assert [len(options[key]) for key in ("name", "group")] == [128, 128]
    assert [len(each) for each in options["tags"]] == [64, 5]
    said = capsys.readouterr().err
    assert said.count("shortened for it") == 1
    assert repr(tag) in said
    assert repr(name) in said
    assert "'short'" not in said

    build_loggers(tmp_path / "version_3", "name", "offline", "project", ["short"])
    assert capsys.readouterr().err == ""


def test_seeds_of_an_experiment_share_a_group_unless_one_is_given(tmp_path):
    def group(name, given=None):
        return build_loggers(tmp_path / "version_0", name, "offline", "project", [], given)[1]._wandb_init["group"]

    assert {group(f"papers/dyc/quick/seed{seed}") for seed in (0, 11)} == {"papers/dyc/quick"}
    assert group("quickstart") == "quickstart"
    assert group("papers/dyc/quick/seed0", "mine") == "mine"
