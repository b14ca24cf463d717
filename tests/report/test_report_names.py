"""Names of clusters on panel and page, and in the exports that follow them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from page_factory import make_run, make_set, page_source
from PIL import Image
from plan_factory import CHANGES, Plan

from patchbank.config.config import Config
from patchbank.config.load import read_config
from patchbank.config.schema import merge
from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.exports.labels import open_source
from patchbank.exports.source import Choice
from patchbank.files import read_npz, write_npz
from patchbank.names import RowNames, load_names
from patchbank.predictions import PredictionReader
from patchbank.report.named import name_columns
from patchbank.report.page.build import write_page
from patchbank.report.page.naming import fit_of
from patchbank.report.panel import PanelColumn, draw_panel


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    make_set(folder)
    return folder


@pytest.fixture(scope="module")
def run(world: Path) -> Path:
    return make_run(world, world / "results", labelled=False)


def names_file(path: Path, run: Path, text: str = "{0: sky, 2: sky}", row: str = "kmeans", more: str = "") -> Path:
    fit = fit_of(run / row / "seed0")
    rows = f"rows:\n  {row}:\n    variant: k3-s0\n    fit: '{fit}'\n    names: {text}\n"
    path.write_text(f"format: patchbank-names-1\n{more}{rows}")
    return path


def test_clusters_of_one_name_are_one_category_with_one_colour_everywhere(
    world: Path, run: Path, tmp_path: Path
) -> None:
    path = names_file(tmp_path / "names.yaml", run)
    source = dataclasses.replace(page_source(world, run), names=path)
    manifest, columns = name_columns(Manifest.load(source.manifest), source.columns, path)
    assert manifest.classes == ("sky", "cluster 1")
    assert [column.assignment for column in columns] == [(), (0, 1, 0), ()]
    page = write_and_read(source, run)
    assert "sky" in page
    assert "<td>0, 2</td>" in page.replace(' class="text"', "")
    assert 'value="sky"' in page
    assert load_names(run / "names_shown.yaml") == load_names(path)
    # the picture has the colour of the category where cluster 0 or 2 is, and another one elsewhere
    image = manifest.entries("val")[0]
    with PredictionReader(run / "kmeans" / "seed0" / "val.h5") as reader:
        labels = reader.labels("k3-s0", reader.images.index(image.id), reader.images.index(image.id) + 1)[0]
    drawn = np.asarray(Image.open(run / "gallery" / f"{image.id}.kmeans.jpg"), dtype=np.float64)
    corners = {(0, 0): drawn[2, 2], (0, 3): drawn[2, -3], (3, 0): drawn[-3, 2], (3, 3): drawn[-3, -3]}
    hue = {place: pixel - pixel.mean() for place, pixel in corners.items()}
    for one in hue:
        for other in hue:
            same = (labels[one] == 1) == (labels[other] == 1)
            assert (float(hue[one] @ hue[other]) > 0) == same, (one, other, labels)
    # exports take what the page shows, and clusters where they are asked for
    taken = open_source(run / "kmeans", Choice())
    assert [category.name for category in taken.categories] == ["sky", "cluster 1"]
    assert len(open_source(run / "kmeans", Choice(clusters=True)).categories) == 3
    assert len(open_source(run / "kmeans", Choice(variant="k5-s0")).categories) == 5
    assert len(open_source(run / "alignseg", Choice()).categories) == 3
    # without names the page is as before, and they are gone
    again = write_and_read(dataclasses.replace(source, names=None), run)
    assert "<td>0, 2</td>" not in again.replace(' class="text"', "")
    assert not (run / "names_shown.yaml").exists()


def test_exports_take_the_names_of_the_clusters_that_the_page_shows_and_of_no_others(
    world: Path, tmp_path: Path
) -> None:
    # a file as one writes it by hand, without variant and fit
    run, path = make_run(world, tmp_path, labelled=False), tmp_path / "names.yaml"
    path.write_text("format: patchbank-names-1\nrows:\n  alignseg:\n    names: {0: sky, 2: 'été: \"sea\"'}\n")
    write_page(dataclasses.replace(page_source(world, run), names=path), run)
    kept = load_names(run / "names_shown.yaml")
    assert kept == [RowNames("alignseg", "k3-s0", fit_of(run / "alignseg" / "seed0"), {0: "sky", 2: 'été: "sea"'})]
    categories = ["sky", "cluster 1", 'été: "sea"']
    assert [one.name for one in open_source(run / "alignseg", Choice()).categories] == categories
    numbers = [f"cluster {index}" for index in range(5)]
    assert [one.name for one in open_source(run / "alignseg", Choice(variant="k5-s0")).categories] == numbers
    # the clusters of another training are others, and its export needs no names
    other = shutil.copytree(run / "alignseg" / "seed0", run / "alignseg" / "seed1")
    write_npz(other / "clusters.npz", {**read_npz(other / "clusters.npz"), "more": np.zeros(1)})
    assert [one.name for one in open_source(other, Choice()).categories] == numbers[:3]
    # a copy of the file that says of no clusters, as pages left it before, names none
    shutil.copy(path, run / "names_shown.yaml")
    assert [one.name for one in open_source(run / "alignseg", Choice()).categories] == numbers[:3]


def write_and_read(source: object, run: Path) -> str:
    write_page(source, run)  # type: ignore[arg-type]
    return (run / "index.html").read_text()


def test_a_panel_with_names_is_another_picture(world: Path, run: Path, tmp_path: Path) -> None:
    source = page_source(world, run)
    manifest, path = Manifest.load(source.manifest), names_file(tmp_path / "names.yaml", run)
    for name, given in (("bare", None), ("named", path), ("again", path)):
        draw_panel(*name_columns(manifest, source.columns, given), tmp_path / f"{name}.png", rows=2)
    drawn = {name: (tmp_path / f"{name}.png").read_bytes() for name in ("bare", "named", "again")}
    assert drawn["named"] == drawn["again"] != drawn["bare"]


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("{7: sky}", {}, "names cluster 7, and there are 3"),
        ("{0: sky}", {"clustering": "k5-s0"}, "names clusters of k3-s0, these are of k5-s0"),
        ("{0: sky}", {"assignment": (0, 1, 2)}, "which are matched to classes; leave that row out"),
    ],
)
def test_names_of_other_clusters_are_refused(
    world: Path, run: Path, tmp_path: Path, text: str, column: dict[str, object], said: str
) -> None:
    source = page_source(world, run)
    columns = [one if one.title != "kmeans" else with_changes(one, column) for one in source.columns]
    with pytest.raises(UserError, match=said):
        name_columns(Manifest.load(source.manifest), columns, names_file(tmp_path / "names.yaml", run, text))


def with_changes(column: PanelColumn, changes: dict[str, object]) -> PanelColumn:
    return dataclasses.replace(column, **changes)  # type: ignore[arg-type]


def config_with(tmp_path: Path, names: Path, **more: object) -> Config:
    (tmp_path / "pictures").mkdir(exist_ok=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "a.png")
    return read_config((), {"names": str(names), **more})


def test_names_belong_to_the_set_that_they_say_or_to_the_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = {"folder": str(tmp_path / "pictures")}
    bare = names_file(tmp_path / "bare.yaml", run)
    assert config_with(tmp_path, bare, **folder).named_set() == "mine"
    said = names_file(tmp_path / "said.yaml", run, more="dataset: mine\n")
    config = config_with(tmp_path, said, **folder)
    assert config.named_set() == "mine"
    assert config.digest("mine") == config_without(folder).digest("mine")  # no result but pictures knows names
    with pytest.raises(UserError, match="a set that it does not say"):
        config_with(tmp_path, bare)
    with pytest.raises(UserError, match="whose clusters have the names of its classes"):
        config_with(tmp_path, names_file(tmp_path / "voc.yaml", run, more="dataset: voc\n"))
    with pytest.raises(UserError, match=r"names: .*none\.yaml does not exist"):
        config_with(tmp_path, tmp_path / "none.yaml", **folder)


def config_without(changes: dict[str, str]) -> Config:
    return read_config((), changes)


def test_only_panel_and_page_of_the_named_set_read_names(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = names_file(tmp_path / "names.yaml", run)
    config_with(tmp_path, names, folder=str(tmp_path / "pictures"))
    changes = merge(CHANGES, {"folder": str(tmp_path / "pictures"), "names": str(names)})
    plan = Plan(tmp_path, changes, done=("msrc", "mine"))
    mine, msrc = (SimpleNamespace(dataset=name) for name in ("mine", "msrc"))
    assert plan.reports.panel_files(mine)["cluster_names"] == [str(names)]
    assert plan.reports.panel_files(msrc)["cluster_names"] == []
