"""Pictures of the way from windows to pseudo labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transfgu_world import EXACT, SOURCES, make_world, train_in

from patchbank.drawing.layout import GAP, MARGIN
from patchbank.methods.jobs import PictureJob
from patchbank.methods.transfgu import pictures
from patchbank.methods.transfgu.pictures import WIDTH, draw
from patchbank.methods.transfgu.settings import TRAITS, traits


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_world(tmp_path_factory.mktemp("transfgu"))


@pytest.mark.parametrize(("source", "columns"), [("exact", 6), ("segments", 5)])
def test_pictures_of_the_way(world: dict[str, Path], source: str, columns: int, tmp_path: Path) -> None:
    checkpoint = train_in(world, source, SOURCES[source])
    wanted = TRAITS.pictures if source == "exact" else ("whole",)
    assert traits(SOURCES[source]).pictures == wanted
    banks = {recipe: world[recipe] for recipe in wanted}
    drawn = []
    for name in ("first.png", "again.png"):
        manifest = world["folder"] / "manifest.json"
        draw(PictureJob("transfgu", manifest, banks, checkpoint, SOURCES[source], tmp_path / name))
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1]
    with Image.open(tmp_path / "first.png") as picture:
        assert abs(picture.width - columns * (WIDTH + GAP) - 2 * MARGIN) <= GAP
        assert picture.height > 6 * WIDTH / 3


def test_outlines_have_the_colours_of_their_centroids_maps(
    world: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With background, centroid t is channel t + 1 of the maps."""
    checkpoint = train_in(world, "exact", EXACT)
    marks = np.array([(255, i, 255 - i) for i in range(1, 41)], np.uint8)
    monkeypatch.setattr(pictures, "palette", lambda count: marks)
    banks = {recipe: world[recipe] for recipe in TRAITS.pictures}
    manifest = world["folder"] / "manifest.json"
    draw(PictureJob("transfgu", manifest, banks, checkpoint, EXACT, tmp_path / "out.png"))
    column = np.asarray(Image.open(tmp_path / "out.png").convert("RGB"))[
        :, MARGIN + WIDTH + GAP : MARGIN + 2 * WIDTH + GAP
    ]
    shown = {i for i, colour in enumerate(marks) if (column == colour).all(-1).any()}
    assert shown
    assert shown <= {1, 2}
