"""The pages in a real browser: nothing is fetched, nothing fails, tables sort, pictures change, a phone is enough.

Needs Chromium and its driver from the system (Debian: `apt-get install chromium chromium-driver`). Set
`PATCHBANK_SCREENSHOTS` to a folder to keep pictures of the page at both widths.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_factory import make_page, make_run, make_set

from patchbank.exports.labels import open_source
from patchbank.exports.source import Choice
from patchbank.names import RowNames, load_names
from patchbank.report.page.index import write_index
from patchbank.report.summary import read_reports

pytestmark = [pytest.mark.browser, pytest.mark.exhaustive]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium that records what it loads and what its console says."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    selenium = pytest.importorskip("selenium.webdriver")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `results` with the pages of a labelled and an unlabelled run."""
    folder = tmp_path_factory.mktemp("browser")
    make_set(folder)
    out = make_run(folder, folder / "results")
    make_page(folder, out)
    write_index(read_reports([out / "report.json"]), out.parent / "index.html")
    make_page(folder, make_run(folder, folder / "unlabelled", labelled=False))
    return folder / "results"


def visit(browser: Any, path: Path, width: int, dark: bool = False) -> None:
    """Open a page at a width; what was logged before is forgotten."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme, "media": ""})
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(path.as_uri())


def all_of(browser: Any, selector: str) -> list[Any]:
    found: list[Any] = browser.find_elements("css selector", selector)
    return found


def requests(browser: Any) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@pytest.mark.parametrize("page", ["results/toy/index.html", "results/index.html", "unlabelled/toy/index.html"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_fails_nothing_is_fetched_and_nothing_sticks_out(
    browser: Any, pages: Path, page: str, width: int
) -> None:
    path = pages.parent / page
    visit(browser, path, width)
    assert browser.get_log("browser") == []
    seen = requests(browser)
    assert path.as_uri() in seen
    assert [url for url in seen if not url.startswith(("file://", "data:"))] == []
    images = browser.execute_script("return [...document.images].map((i) => [i.src, i.naturalWidth])")
    assert [source for source, wide in images if not wide] == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    if keep := os.environ.get("PATCHBANK_SCREENSHOTS"):
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        name = f"{page.replace('/', '-').removesuffix('.html')}-{width}.png"
        (Path(keep) / name).write_bytes(base64.b64decode(shot["data"]))


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
@pytest.mark.parametrize("page", ["results/toy/index.html", "unlabelled/toy/index.html"])
def test_verdict_matrix_and_pictures_are_on_the_first_screen(
    browser: Any, pages: Path, page: str, width: int, height: int
) -> None:
    visit(browser, pages.parent / page, width)
    parts = [".headline", ".strip img", *([".matrix table"] if page.startswith("results") else [])]
    for part in parts:
        (box, *_) = browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.closest('.scroll') ?? e)"
            ".map((e) => e.getBoundingClientRect()).map((r) => [r.top, r.bottom, r.width])",
            part,
        )
        assert 0 <= box[0] < box[1] <= height, (part, box)
        assert box[2] > 50


def test_tables_sort_by_mouse_and_keyboard(browser: Any, pages: Path) -> None:
    visit(browser, pages / "toy" / "index.html", 1280)
    table = all_of(browser, "#scores table.sortable")[0]
    heads = table.find_elements("css selector", "thead th")
    score = next(index for index, head in enumerate(heads) if "mIoU" in head.text)

    def column(index: int) -> list[str]:
        return [
            row.find_elements("css selector", "th, td")[index].get_property("textContent").strip()
            for row in table.find_elements("css selector", "tbody tr")
        ]

    def values() -> list[float]:
        return [float(text.split()[0]) for text in column(score)]

    before = values()
    assert before != sorted(before, reverse=True)
    button = heads[score].find_element("css selector", "button")
    button.click()
    assert heads[score].get_attribute("aria-sort") == "descending"
    assert values() == sorted(before, reverse=True)
    button.send_keys("\n")
    assert heads[score].get_attribute("aria-sort") == "ascending"
    assert values() == sorted(before)
    heads[0].find_element("css selector", "button").send_keys(" ")
    assert (heads[0].get_attribute("aria-sort"), heads[score].get_attribute("aria-sort")) == ("ascending", None)
    assert column(0) == sorted(column(0))


def test_the_gallery_changes_together_and_picture_by_picture(browser: Any, pages: Path) -> None:
    visit(browser, pages / "toy" / "index.html", 390)
    shots = all_of(browser, ".shot")

    def shown() -> list[str]:
        return [" ".join(t.text for t in s.find_elements("css selector", ".tag") if t.is_displayed()) for s in shots]

    assert set(shown()) == {"alignseg"}
    label = next(found for found in all_of(browser, ".views label") if found.text == "kmeans")
    label.click()
    assert set(shown()) == {"kmeans"}
    assert shots[0].find_element("css selector", "tr.current th").text.endswith("kmeans")
    picture = shots[1].find_element("css selector", ".pictures")
    picture.click()
    assert shown()[:3] == ["kmeans", "truth", "kmeans"]
    assert picture.get_attribute("aria-pressed") == "true"
    picture.send_keys("\n")
    assert shown()[1] == "kmeans"
    all_of(browser, ".views input")[0].send_keys(" ")
    assert set(shown()) == {"image"}
    picture.click()
    assert shown()[:2] == ["image", "alignseg"]


def test_clusters_are_named_merged_saved_and_loaded(browser: Any, pages: Path, tmp_path: Path) -> None:
    wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait(browser, 20)
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page = pages / "toy" / "index.html"
    visit(browser, page, 390)
    row = wait.until(lambda page: all_of(page, "[data-row=alignseg] .cluster-name"))
    assert len(row) >= 3
    assert len({browser.execute_script("return arguments[0].labels[0].textContent", field) for field in row}) == len(
        row
    )
    row[0].send_keys("  open   sky\n")  # the key goes on to the next cluster
    assert browser.switch_to.active_element == row[1]
    browser.switch_to.active_element.send_keys('it\'s "grass": é')
    row[2].send_keys("open sky")
    merged = [field.find_element("xpath", "..").find_element("css selector", ".merged").text for field in row[:3]]
    clusters = [field.get_attribute("data-cluster") for field in row]
    assert merged == [f"one with cluster {clusters[2]}", "", f"one with cluster {clusters[0]}"]
    visit(browser, page, 1280, dark=True)  # a reload, and another screen
    row = all_of(browser, "[data-row=alignseg] .cluster-name")
    assert [field.get_attribute("value") for field in row[:3]] == ["open sky", 'it\'s "grass": é', "open sky"]
    all_of(browser, ".save-names")[0].send_keys(" ")
    file = tmp_path / "names.yaml"
    wait.until(lambda _: file.is_file() and file.stat().st_size)
    assert all_of(browser, ".names-said")[0].text == "Names of 3 clusters saved as names.yaml."
    (names,) = load_names(file)
    assert names.names == {
        int(clusters[0]): "open sky",
        int(clusters[1]): 'it\'s "grass": é',
        int(clusters[2]): "open sky",
    }
    source = open_source(pages / "toy" / "alignseg", Choice(names=file))
    assert {"open sky", 'it\'s "grass": é'} <= {category.name for category in source.categories}
    all_of(browser, ".clear-names")[0].click()
    visit(browser, page, 1280)
    assert not any(field.get_attribute("value") for field in all_of(browser, ".cluster-name"))
    all_of(browser, ".load-names")[0].send_keys(str(file))
    wait.until(lambda _: all_of(browser, ".names-said")[0].text == "Names of 3 clusters loaded.")
    loaded = all_of(browser, "[data-row=alignseg] .cluster-name")
    assert [field.get_attribute("value") for field in loaded[:3]] == ["open sky", 'it\'s "grass": é', "open sky"]
    assert all(url.startswith(("file://", "data:", "blob:file")) or "blob:" in url for url in requests(browser))
    check_foreign_names(browser, wait, names, tmp_path)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 1280


def check_foreign_names(browser: Any, wait: Any, names: RowNames, folder: Path) -> None:
    """Names of another clustering or training stay out and are told; a file written by hand is read as YAML."""
    first, second = sorted(names.names)[:2]
    by_hand = f"    names:\n      {first}: 'it''s # 1'  # a remark\n      {second}: wet grass # another\n"
    cases = {
        "variant.yaml": (f"    variant: 'k99-s0'\n    fit: {names.fit}\n", False),
        "fit.yaml": (f"    variant: {names.variant}\n    fit: '{'0' * len(names.fit)}'\n", False),
        "same.yaml": (f'    fit: "{names.fit}"\n    variant: {names.variant}\n', True),
        "silent.yaml": ("", True),
    }
    other = " Not loaded: names of alignseg, which are of another training or clustering."
    for name, (lines, own) in cases.items():
        (folder / name).write_text(
            f"format: patchbank-names-1\nrows:\n  'alignseg':\n{lines}{by_hand}", encoding="utf-8"
        )
        assert load_names(folder / name)[0].names == {first: "it's # 1", second: "wet grass"}
        all_of(browser, ".clear-names")[0].click()
        all_of(browser, ".load-names")[0].send_keys(str(folder / name))
        text = "Names of 2 clusters loaded." if own else f"{name} names no cluster of this page.{other}"
        wait.until(lambda _, text=text: all_of(browser, ".names-said")[0].text == text)
        row = all_of(browser, "[data-row=alignseg] .cluster-name")
        values = {int(field.get_attribute("data-cluster")): field.get_attribute("value") for field in row}
        given = {cluster: value for cluster, value in values.items() if value}
        assert given == ({first: "it's # 1", second: "wet grass"} if own else {})


def test_dark_light_and_paper(browser: Any, pages: Path) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    ink = "return getComputedStyle(document.querySelector('.chart svg text')).fill"
    visit(browser, pages / "toy" / "index.html", 1280)
    light = browser.execute_script(ground), browser.execute_script(ink)
    visit(browser, pages / "toy" / "index.html", 1280, dark=True)
    dark = browser.execute_script(ground), browser.execute_script(ink)
    assert light[0] == "rgb(255, 255, 255)"
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    views = all_of(browser, ".shot:first-child .view")
    assert views
    assert all(view.is_displayed() for view in views)
    assert not any(found.is_displayed() for found in all_of(browser, ".views, nav"))


def test_without_a_script_everything_is_shown(browser: Any, pages: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        visit(browser, pages / "toy" / "index.html", 1280)
        source = browser.page_source
        views = all_of(browser, ".shot:first-child .view")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert 'class="js"' not in source
    assert len(views) >= 5
