"""`patchbank segment` with the row of a set that was cut into tiles: rasters are squashed, and that is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from inference_world import make_world, run
from PIL import Image

from patchbank.datasets.scan import scan
from patchbank.datasets.spec import make_spec
from patchbank.inference.inputs import Input
from patchbank.inference.tiled import set_tile, squashed_whole


def raster(path: Path, width: int, height: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb")
    return path


def test_rasters_that_the_set_would_have_cut_are_named_with_the_window(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, flight = make_world(tmp_path), tmp_path / "flight"
    raster(flight / "large.tif", 300, 200)
    raster(flight / "small.tif", 70, 60)
    Image.new("RGB", (300, 200), (9, 200, 30)).save(flight / "photo.png")
    assert run(world, tmp_path / "before", "--own-ids", paths=(flight,)) == 0
    assert "tiles" not in capsys.readouterr().err
    scan(make_spec("toy", "folder", flight, tiles=64), workers=1).save(world / "toy" / "manifest.json")
    assert run(world, tmp_path / "out", "--own-ids", paths=(flight,)) == 0
    said = "1 of 3 pictures are TIFFs that the row's set would have cut into tiles of about 66 pixels"
    assert f"{said}, and are squashed whole; --window 64 shows the encoder" in capsys.readouterr().err
    assert run(world, tmp_path / "windows", "--own-ids", "--window", "64", paths=(flight,), size=()) == 0
    assert "tiles" not in capsys.readouterr().err


def test_the_window_that_sees_what_a_tile_showed(tmp_path: Path) -> None:
    inputs = [Input(raster(tmp_path / "a.tif", 300, 200), "a")]
    assert "--window 64 shows" in squashed_whole(inputs, 64, 448)  # nothing is enlarged
    assert "--window 40 --scale 0.4 shows" in squashed_whole(inputs, 100, 40)
    assert squashed_whole(inputs, 300, 448) == ""
    assert set_tile("/head.safetensors") is None
