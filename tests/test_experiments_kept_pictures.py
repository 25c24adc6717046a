"""Pictures that a training drew: smaller beside the records, and on the page."""

from PIL import Image

from experiments import kept_pictures
from experiments.papers import papers
from experiments.report.photos import photos

ROW = "own/segmentation/camvid/dyc"


def run_with_pictures(folder, colour, names=("best_1", "best_2", "worst_1")):
    (folder / "pictures").mkdir(parents=True)
    for name in names:
        Image.new("RGBA", (1210, 330), colour).save(folder / f"pictures/{name}.png")
    return folder


def test_the_best_and_the_worst_are_kept_smaller_and_once(tmp_path):
    one, two = (run_with_pictures(tmp_path / colour, colour) for colour in ("red", "blue"))
    written = kept_pictures.keep(one, ROW, "quick", tmp_path)
    assert [path.relative_to(tmp_path / "pictures" / ROW).name for path in written] == [
        "quick_best.webp",
        "quick_worst.webp",
    ]
    with Image.open(written[0]) as picture:
        assert picture.size == (1000, 273)
        assert picture.convert("RGB").getpixel((5, 5))[0] > 240
    before = written[0].read_bytes()
    assert kept_pictures.keep(two, ROW, "quick", tmp_path) == []
    assert written[0].read_bytes() == before
    assert len(kept_pictures.keep(two, ROW, "full", tmp_path)) == 2
    assert [(each.protocol, each.name) for each in kept_pictures.kept(ROW, tmp_path)] == [
        ("full", "best"),
        ("full", "worst"),
        ("quick", "best"),
        ("quick", "worst"),
    ]
    assert kept_pictures.keep(tmp_path / "a_classifier", ROW, "quick", tmp_path) == []


def test_the_page_has_them_in_itself(tmp_path):
    kept_pictures.keep(run_with_pictures(tmp_path / "run", "green"), ROW, "quick", tmp_path)
    best, worst = photos(papers()["own"].tables["segmentation"], tmp_path)
    assert best.title == "Dilated FCN DYC-MobileNetV2 x0.35: the best image of the test, quick"
    assert worst.title.endswith("the worst image of the test, quick")
    assert best.address.startswith("data:image/webp;base64,UklGR")
    assert photos(papers()["dyc"].tables["table1"], tmp_path) == []
