"""The page of ``dyc report`` in a browser: no network, tables by keyboard, narrow, dark and printed."""

import re
import shutil
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from support import made_records

from lightning_modules.cli import main

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, from the extra dev")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the search path")

ANALYSES = Path(__file__).parents[1] / "experiments/results/analyses"
TABLE = "table[data-filter=dyc-table1-filter]"
CONTRAST = """() => {
  const part = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (e) => {
    const colours = [];
    for (; e; e = e.parentElement) colours.push(getComputedStyle(e).backgroundColor);
    return colours.find((colour) => !/, 0\\)$/.test(colour));
  };
  const all = "h1, h2, h3, p, li, a, th, td, button, small, label, .quick, code, figcaption, svg text";
  const texts = [...document.querySelectorAll(all)].filter((e) => e.textContent.trim() && e.checkVisibility());
  const ratios = texts.map((e) => {
    const own = getComputedStyle(e)[e instanceof SVGElement ? "fill" : "color"];
    const [a, b] = [light(own), light(behind(e))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), `${e.tagName} ${e.className} ${e.textContent.slice(0, 30)}`];
  });
  return ratios.sort((x, y) => x[0] - y[0])[0];
}"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The page of made-up records."""
    folder = tmp_path_factory.mktemp("report")
    results = made_records.write(folder / "results")
    for name in ("attention_dy", "convergence"):  # beside the records; the other analyses are not measured
        shutil.copytree(ANALYSES / name, folder / "analyses" / name)
    assert (
        main(["report", "dyc", "dy", "selectconv", "--results", str(results), "--html", str(folder / "page.html")]) == 0
    )
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser():
    """A browser without a window."""
    with playwright.sync_playwright() as tools:
        found = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def visit(browser, file):
    """Open the page; at the end, nothing else was asked for, and nothing went wrong."""

    @contextmanager
    def opened(width=1280, **look):
        page = browser.new_page(viewport={"width": width, "height": 800}, **look)
        asked, wrong = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(file.as_uri())
        yield page
        assert asked == [file.as_uri()]
        assert wrong == []
        page.close()

    return opened


def column(page, title):
    """Return the texts of a column, of the rows that are shown."""
    return page.evaluate(
        """([table, title]) => {
          const it = document.querySelector(table), heads = [...it.tHead.rows[0].cells].map((c) => c.textContent);
          const rows = [...it.tBodies[0].rows].filter((row) => row.checkVisibility());
          return rows.map((row) => row.cells[heads.indexOf(title)].textContent.trim());
        }""",
        [TABLE, title],
    )


def test_columns_are_sorted_by_keyboard(visit):
    with visit() as page:
        button = page.locator(f"{TABLE} thead button", has_text="ours").first
        head = page.locator(f"{TABLE} th[scope=col]", has_text="ours").first
        before = column(page, "ours")
        assert head.get_attribute("aria-sort") == "none"
        for key, direction, backwards in (("Enter", "ascending", False), ("Space", "descending", True)):
            button.focus()
            page.keyboard.press(key)
            assert head.get_attribute("aria-sort") == direction
            found = column(page, "ours")
            assert found[-1] == "not measured"
            values = [float(re.match(r"[\d.]+", text)[0]) for text in found[:-1]]
            assert values == sorted(values, reverse=backwards)
            assert len(values) == 6
        page.keyboard.press("Enter")
        assert (head.get_attribute("aria-sort"), column(page, "ours")) == ("none", before)


def test_headings_are_reached_by_the_tab_key_after_the_filter(visit):
    with visit() as page:
        page.get_by_label("Filter the rows").nth(0).focus()
        page.keyboard.press("Tab")  # the box that scrolls
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.tagName") == "BUTTON"


def test_rows_are_filtered_by_typing(visit):
    with visit() as page:
        field = page.locator("#dyc-table1-filter")
        assert page.evaluate("document.querySelector('#dyc-table1-filter').labels[0].textContent") == "Filter the rows"
        field.focus()
        page.keyboard.type("CIFAR100 quick")
        assert len(column(page, "ours")) == 2
        assert page.locator("#dyc-table1-filter + output").text_content() == "2 of 7 rows"
        field.fill("")
        assert len(column(page, "ours")) == 7


def test_what_is_not_measured_can_be_hidden(visit):
    with visit() as page:
        page.get_by_label("Only rows that are measured").focus()
        page.keyboard.press("Space")
        assert len(column(page, "ours")) == 6


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_the_page_is_never_wider_than_the_screen(visit, width):
    with visit(width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        box = page.locator(".wide", has=page.locator(TABLE))
        assert box.evaluate("e => getComputedStyle(e).overflowX") == "auto"


@pytest.mark.parametrize("look", [{"color_scheme": "light"}, {"color_scheme": "dark"}], ids=["light", "dark"])
def test_all_text_has_contrast(visit, look):
    with visit(**look) as page:
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(255, 255, 255)") == (look["color_scheme"] == "light")
        ratio, where = page.evaluate(CONTRAST)
        assert ratio >= 4.5, where


def test_print_is_light_and_whole(visit):
    with visit(color_scheme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
        assert not page.locator("#dyc-table1-filter").is_visible()
        assert (
            page.locator(".wide", has=page.locator(TABLE)).evaluate("e => getComputedStyle(e).overflowX") == "visible"
        )


def test_headings_are_in_order_and_pictures_are_named(visit):
    with visit() as page:
        levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((e) => Number(e.tagName[1]))")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        labels = page.evaluate("[...document.querySelectorAll('svg')].map((e) => e.ariaLabel)")
        assert len(labels) >= 5
        assert all(labels)
        assert any("Learning curves with the attention's temperature" in label and "quick" in label for label in labels)
        assert page.evaluate("document.documentElement.lang") == "en"
        names = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
        assert len(names) == len(set(names))
        links = page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map((e) => e.hash.slice(1))")
        assert set(links) <= set(names)


def test_a_link_to_an_analysis_opens_its_picture(visit):
    with visit() as page:
        picture = page.locator("#analysis-attention_dy img")
        assert not picture.is_visible()
        page.locator("table a[href='#analysis-attention_dy']").first.click()
        assert picture.is_visible()
        assert picture.evaluate("e => e.decode().then(() => e.naturalWidth > 100 && e.naturalHeight > 100)")
        assert "attention_dy/accuracy.csv" in picture.get_attribute("alt")
        assert page.locator("#analysis-attention_dyc img").count() == 0  # which is not measured


def test_every_quick_number_says_so(visit):
    with visit() as page:
        ours, protocols = column(page, "ours"), column(page, "protocol")
        assert [text.endswith("quick") for text in ours] == [text.startswith("quick") for text in protocols]
        assert [text.endswith("quick") for text in column(page, "gap")] == [
            text.startswith("quick") for text in protocols
        ]
