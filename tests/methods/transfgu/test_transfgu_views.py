"""TransFGU's recipes: resizing rules, windows, the read block, training views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bank_factory import TINY, extract_all, make_images
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patchbank import open_bank
from patchbank.backbones.tail import load_tail, tail_of
from patchbank.backbones.vit import FrozenViT
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.format import content_hash
from patchbank.bank.verify import describe_bank, verify_bank
from patchbank.datasets.images import load_image
from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.views.augmented import Recipe as Augmented
from patchbank.views.base import make_recipe
from patchbank.views.resize import squash
from patchbank.views.whole import Recipe as Whole
from patchbank.views.windows import BACKGROUND, FOREGROUND, select_windows, window_boxes
from patchbank.views.windows import Recipe as Windows

WINDOWS = {"size": 64, "scales": [0.6, 0.4], "window": 48, "select": "foreground+background"}


def picture(width: int = 61, height: int = 43, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("views")
    make_images(folder, 7)
    extract_all(folder, ExtractSettings("windows", WINDOWS, images_per_shard=4, batch_tokens=256))
    extract_all(folder, ExtractSettings("lastblock", {"size": [64, 96]}, images_per_shard=4, batch_tokens=64))
    extract_all(folder, ExtractSettings("augmented", {"size": [64, 128], "draws": 3}, images_per_shard=4))
    return folder


def encoder(world: Path) -> FrozenViT:
    return FrozenViT(TINY, world / "weights.safetensors", device="cpu")


def opened(world: Path, row: int, split: str = "train") -> tuple[str, Image.Image]:
    manifest = Manifest.load(world / "manifest.json")
    entry = manifest.entries(split)[row]
    return entry.id, load_image(manifest.root / entry.image)


def test_squash_rules() -> None:
    image = picture()
    pixels = np.asarray(image)
    nearest = squash(image, (20, 30), "nearest")
    for i in range(20):
        for j in range(30):
            np.testing.assert_array_equal(nearest[i, j], pixels[i * 43 // 20, j * 61 // 30])
    smooth = squash(image, (20, 30), "torch")
    assert smooth.dtype == np.float32
    planes = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(planes, (20, 30), mode="bilinear")[0].permute(1, 2, 0)
    np.testing.assert_array_equal(smooth, expected.numpy())
    assert not np.allclose(smooth, squash(image, (20, 30), "pil"), atol=5)  # antialiasing is not a detail
    with pytest.raises(UserError, match="resize is 'cubic'; choose one of pil, torch, nearest"):
        squash(image, (20, 30), "cubic")


def test_whole_takes_two_sides_and_keeps_its_record() -> None:
    recipe = Whole(14, [320, 640], "torch")
    assert recipe.size == (322, 644)
    assert recipe.make(picture(), "a", 0).pixels.shape == (1, 322, 644, 3)
    assert Whole(14).record() == {"name": "whole", "size": [448, 448], "resize": "PIL bilinear"}


@given(
    st.integers(4, 40),
    st.integers(4, 40),
    st.lists(st.sampled_from([0.2, 0.3, 0.45, 0.6, 1.0]), min_size=1, max_size=3),
)
def test_windows_lie_inside_the_grid_and_are_squares(h: int, w: int, scales: list[float]) -> None:
    found = window_boxes((h, w), scales)
    y0, x0, y1, x1 = found.T
    assert (y0 >= 0).all()
    assert (x0 >= 0).all()
    assert (y1 < h).all()
    assert (x1 < w).all()
    np.testing.assert_array_equal(y1 - y0, x1 - x0)


def test_window_selection_by_hand() -> None:
    windows = np.array([[0, 0, 1, 1], [2, 2, 3, 3], [0, 2, 1, 3]])
    foreground = np.zeros((4, 4), dtype=bool)
    foreground[0, 0] = True  # 4 of the crop's 3x3 pixels at patch 2, because the last row and column are cut
    foreground[0, 3] = True  # 2 of 9: more than a fifth
    assert select_windows(foreground, windows, 2).tolist() == [0, BACKGROUND, 0]
    foreground[1, 0] = True  # 6 of 9
    assert select_windows(foreground, windows, 2).tolist() == [FOREGROUND, BACKGROUND, 0]


def test_window_features_are_class_tokens_of_the_cut_pixels(world: Path) -> None:
    bank, vit = open_bank(world / "windows.json"), encoder(world)
    recipe = Windows(16, **WINDOWS)  # type: ignore[arg-type]
    stored = bank.read([3], ("cls", "window", "boxes"))
    assert stored["cls"].dtype == np.float32
    assert (bank.views, bank.dim) == (len(recipe.windows), 192)
    assert {FOREGROUND, BACKGROUND} & set(np.unique(bank.read(np.arange(7), ("window",))["window"]))
    image_id, image = opened(world, 3)
    assert bank.images[3] == image_id
    doubled = squash(image, (128, 128), "torch")
    attention = vit(vit.normalise(torch.from_numpy(doubled)[None])).cls_attention[0].mean(0)
    mask = (attention > attention.mean()).view(8, 8).numpy()
    large = np.kron(mask, np.ones((16, 16), dtype=bool))
    for index, (y0, x0, y1, x1) in enumerate(recipe.windows.tolist()):
        rows, columns = slice(y0 * 16, (y1 + 1) * 16 - 1), slice(x0 * 16, (x1 + 1) * 16 - 1)
        share = large[rows, columns].mean()
        code = FOREGROUND if share > 0.5 else BACKGROUND if share < 0.2 else 0
        assert stored["window"][0, index] == code
        np.testing.assert_array_equal(stored["boxes"][0, index], [columns.start, rows.start, columns.stop, rows.stop])
        if code:
            crop = torch.from_numpy(doubled[rows, columns].copy()).permute(2, 0, 1)[None]
            small = torch.nn.functional.interpolate(crop, (48, 48), mode="bilinear").permute(0, 2, 3, 1)
            expected = vit(vit.normalise(small)).cls[0]
            np.testing.assert_allclose(stored["cls"][0, index], expected.numpy(), rtol=1e-3, atol=1e-4)
        else:
            assert not stored["cls"][0, index].any()


def test_window_settings_are_checked() -> None:
    with pytest.raises(UserError, match="no window of scales"):
        Windows(16, size=32, scales=[0.1])
    with pytest.raises(UserError, match=r"recipes.windows.select is 'some'"):
        Windows(16, select="some")  # type: ignore[arg-type]


def test_the_read_block_gives_the_class_token_again(world: Path) -> None:
    bank, vit = open_bank(world / "lastblock.json"), encoder(world)
    assert bank.grid == (4, 6)
    stored = bank.read([2], ("cls_attention", "last_values", "last_mixed", "last_residual"))
    assert (stored["last_values"].dtype, stored["last_mixed"].dtype) == (np.float16, np.float32)
    _, image = opened(world, 2)
    inputs = vit.normalise(torch.from_numpy(squash(image, (64, 96), "torch"))[None])
    encoded, last = vit.read_block(inputs)
    tail = load_tail(bank.folder, content_hash(bank.record))
    mixed, residual = (torch.from_numpy(stored[name][0]) for name in ("last_mixed", "last_residual"))
    torch.testing.assert_close(tail(mixed, residual), encoded.cls.clone(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tail(mixed, residual), tail_of(vit)(mixed, residual))
    np.testing.assert_allclose(stored["last_values"][0, 0], last.values[0].numpy(), rtol=2e-3, atol=2e-3)
    with pytest.raises(UserError, match="belongs to another bank"):
        load_tail(bank.folder, "other")
    with pytest.raises(UserError, match="does not exist"):
        load_tail(world, "other")


def test_banks_with_other_fields_verify_describe_and_join(world: Path) -> None:
    for name in ("windows", "lastblock", "augmented"):
        bank = open_bank(world / f"{name}.json", check=True)
        assert verify_bank(bank.folder) == len(bank)
        assert set(bank[0]) == set(bank.fields) - {"image"}
    assert "last_values (7, 1, 24, 192) float16" in describe_bank(world / "lastblock.json")
    assert "grid" not in describe_bank(world / "windows.json").split("tokens")[0].split("recipe")[1]
    with pytest.raises(UserError, match="holds none of tokens, last_values"):
        _ = open_bank(world / "windows.json").grid


def test_training_views(world: Path) -> None:
    bank = open_bank(world / "augmented.json")
    assert (len(bank), bank.draws, bank.views, bank.grid) == (21, 3, 1, (2, 4))
    assert bank.record["recipe"]["input"] == [64, 128]
    rows = bank.read(np.arange(21), ("boxes", "flip"))
    x0, y0, x1, y1 = rows["boxes"][:, 0].T
    sides = {(int(h), int(w)) for h, w in zip(y1 - y0, x1 - x0, strict=True)}
    assert sides <= {(25, 51), (32, 64), (38, 76), (44, 89), (51, 102), (57, 115)}  # .4 to .9 of 64x128, cut off
    assert len(sides) > 2
    assert (x0 >= 0).all()
    assert (y0 >= 0).all()
    assert (x1 <= 128).all()
    assert (y1 <= 64).all()
    assert 0 < rows["flip"].sum() < 21


def test_a_training_view_without_colour_is_its_box_resized_and_mirrored() -> None:
    recipe = Augmented(16, size=64, draws=20, colour=False)
    squashed = squash(picture(), (64, 64), "torch")
    for draw in range(6):
        views = recipe.make(picture(), "a" * 16, draw)
        x0, y0, x1, y1 = (int(v) for v in views.boxes[0])
        crop = torch.from_numpy(squashed[y0:y1, x0:x1].copy()).permute(2, 0, 1)[None]
        expected = torch.nn.functional.interpolate(crop, (32, 32), mode="bilinear")[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(views.pixels[0], expected[:, ::-1] if views.flip[0] else expected)


def test_colours_change_some_draws_only_and_depend_on_seed_image_and_draw() -> None:
    coloured, plain = Augmented(16, size=64, draws=60), Augmented(16, size=64, draws=60, colour=False)
    image, changed, boxes = picture(), [], []
    for draw in range(60):
        views = coloured.make(image, "a" * 16, draw)
        np.testing.assert_array_equal(views.pixels, coloured.make(image, "a" * 16, draw).pixels)
        assert views.pixels.min() >= 0
        assert views.pixels.max() <= 255.001
        boxes.append(tuple(views.boxes[0]))
        recoloured = np.abs(views.pixels.mean((0, 1, 2)) - squash(image, (64, 64), "torch").mean((0, 1)))
        changed.append(bool(recoloured.max() > 12))
    assert 5 < sum(changed) < 50
    assert len(set(boxes)) > 30
    assert plain.record()["augment"] == "none"
    assert make_recipe("augmented", {"size": 320}, 14).size == (154, 154)
