"""A network is not evaluated on classes that have other numbers than in its training."""

import pytest

from lightning_modules.data.class_names import check_class_names


def test_another_order_is_refused_by_both(segmentation_data, image_data, masks_folder, tmp_path, write_classes, raises):
    (masks_folder / "classes.txt").write_text("car\nroad\nsky\n")
    write_classes(tmp_path / "images", 2, ["car", "road", "sky"])
    for data in (segmentation_data(masks_folder), image_data("folder", tmp_path / "images", val_fraction=0.5)):
        data.setup("fit")
        data.load_state_dict({"class_names": tuple(data.class_names)})
        data.load_state_dict({})  # of a data set without names
        with raises(
            "data.root",
            "number 0 is 'car', which is number 1 in the checkpoint",
            "the checkpoint's order: sky, car, road",
        ):
            data.load_state_dict({"class_names": ["sky", "car", "road"]})


@pytest.mark.parametrize("there", [["a", "b"], ["0", "1"], None, []])
def test_the_same_or_no_names(there, recwarn):
    check_class_names(("a", "b"), there)
    check_class_names(there, ("a", "b"))
    assert not recwarn


def test_other_names_are_said():
    with pytest.warns(UserWarning, match=r"class 1 is 'automobile', and 'car' in the checkpoint"):
        check_class_names(["bird", "car"], ["bird", "automobile"])


def test_one_class_more_in_front_is_another_order(raises):
    with raises("data.root", "classes whose number 1 is 'cat', which is number 0 in the checkpoint", "order: cat, dog"):
        check_class_names(["cat", "dog"], ["ant", "cat"])
