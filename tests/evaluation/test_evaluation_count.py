from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from count_factory import CLASSES, make_set, write_predictions
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from patchbank.datasets import Entry, Manifest, load_image, load_labels, make_spec
from patchbank.errors import UserError
from patchbank.evaluation.count import count_predictions, summarise
from patchbank.evaluation.counts import Counts, CountsFile, confusion, count_image, mean_used_segments
from patchbank.evaluation.preprocessing import Frame, frame
from patchbank.evaluation.refine import refined_ids
from patchbank.evaluation.truth import near_another
from patchbank.predictions import PredictionReader
from patchbank.refinement.pamr import pamr_winners


def expected_counts(manifest: Manifest, labels: np.ndarray, k: int, size: tuple[int, int]) -> np.ndarray:
    """Confusion of grid labels (n, h, w) by PIL and torch, pixel by pixel; squash to 448 first, then `size`."""
    out = np.zeros((k, CLASSES), np.int64)
    for entry, grid in zip(manifest.entries("val"), labels, strict=True):
        mask = Image.open(manifest.root / str(entry.mask)).resize((448, 448), Image.Resampling.NEAREST)
        truth = F.interpolate(torch.from_numpy(np.asarray(mask).astype(np.float32))[None, None], size=size)[0, 0]
        segments = F.interpolate(torch.from_numpy(grid.astype(np.float32))[None, None], size=size)[0, 0]
        for c in range(CLASSES):
            np.add.at(out[:, c], segments[truth == c].long().numpy(), 1)
    return out


def test_all_variants_in_one_file_and_any_number_of_workers(tmp_path: Path) -> None:
    manifest = make_set(tmp_path, 18)  # more than one block
    variants = {"k5-s0": 5, "k70-s1": 70}  # scores, and labels only
    scores = write_predictions(tmp_path / "p.h5", manifest, variants, "nearest")
    for workers in (1, 3):
        count_predictions(tmp_path / "p.h5", manifest, tmp_path / f"{workers}.npz", "squash_448_100", workers)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "3.npz").read_bytes()
    file = CountsFile(tmp_path / "1.npz")
    assert list(file.images) == [entry.id for entry in manifest.entries("val")]
    for name, k in variants.items():
        counts = file[name]
        assert (counts.segments, counts.classes, counts.upsample) == (k, CLASSES, "nearest")
        expected = expected_counts(manifest, scores[name].argmax(1), k, (100, 100))
        assert (confusion(counts) == expected).all()


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 1, 255]))
)
def test_near_another_label_is_a_look_at_every_neighbour(labels: np.ndarray) -> None:
    height, width = labels.shape
    for band in (1, 2, 5):
        found = near_another(labels, band)
        for y, x in np.ndindex(height, width):
            around = labels[max(0, y - band) : y + band + 1, max(0, x - band) : x + band + 1]
            assert found[y, x] == (around != labels[y, x]).any()


def test_full_boundary_counts_the_pixels_near_another_label_and_no_other(tmp_path: Path) -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[:, 40:] = 1
    mask[50:, 60:] = 9  # void
    manifest = make_set(tmp_path, 2)
    Image.fromarray(mask).save(tmp_path / "0.png")
    Image.fromarray(np.full((23, 32), 2, np.uint8)).save(tmp_path / "1.png")  # one class, no boundary
    write_predictions(tmp_path / "p.h5", manifest, {"k5-s0": 5}, "nearest")
    count_predictions(tmp_path / "p.h5", manifest, tmp_path / "c.npz", "full_boundary")
    pixels = confusion(CountsFile(tmp_path / "c.npz")["k5-s0"])
    # 2 % of the diagonal of 100 are 2 pixels on either side; void itself is never counted
    near_void = 2 * 20 + 2 * (10 + 2)
    assert pixels.sum(0).tolist() == [2 * 60, 2 * 60 + near_void, 0]


def test_bilinear_scores_are_interpolated_and_labels_alone_say_that_they_are_not(tmp_path: Path) -> None:
    manifest = make_set(tmp_path, 2)
    scores = write_predictions(tmp_path / "p.h5", manifest, {"k4-s0": 4, "k65-s0": 65}, "bilinear")
    count_predictions(tmp_path / "p.h5", manifest, tmp_path / "c.npz", "full")
    file = CountsFile(tmp_path / "c.npz")
    expected = np.zeros((4, CLASSES), np.int64)
    stored = (scores["k4-s0"] - scores["k4-s0"].max(1, keepdims=True)).astype(np.float16).astype(np.float32)
    for entry, values in zip(manifest.entries("val"), stored, strict=True):
        truth = np.asarray(Image.open(tmp_path / str(entry.mask)))
        up = F.interpolate(torch.from_numpy(values)[None], size=truth.shape, mode="bilinear", align_corners=False)
        winners = up[0].argmax(0).numpy()
        for c in range(CLASSES):
            np.add.at(expected[:, c], winners[truth == c], 1)
    found = confusion(file["k4-s0"])
    assert np.abs(found - expected).sum() <= 4  # rounding may move a pixel on a boundary
    assert (found.sum(0) == expected.sum(0)).all()
    assert file["k4-s0"].upsample == "bilinear"
    assert file["k65-s0"].upsample == "nearest"
    assert file["k65-s0"].note.startswith("nearest instead of bilinear")


def total(counts: Counts) -> int:
    return int(counts.count.sum())


def test_instances_and_images_without_masks(tmp_path: Path) -> None:
    manifest = make_set(tmp_path, 3)
    write_predictions(tmp_path / "p.h5", manifest, {"segments": 4}, "nearest")
    count_predictions(tmp_path / "p.h5", manifest, tmp_path / "c.npz", "full", labels="instance")
    found = CountsFile(tmp_path / "c.npz")["segments"]
    assert found.label_kind == "instance"
    assert found.classes == 4
    assert total(found) == sum(entry.width * entry.height for entry in manifest.entries("val"))

    blind = make_set(tmp_path, 3, masks=False)
    count_predictions(tmp_path / "p.h5", blind, tmp_path / "c.npz", "full")
    assert total(CountsFile(tmp_path / "c.npz")["segments"]) == 0
    with pytest.raises(UserError, match="toy has no instance maps in split 'val', and protocol `objects` needs"):
        count_predictions(tmp_path / "p.h5", blind, tmp_path / "c.npz", "full", labels="instance")


def test_objects_are_compared_by_soft_assignments_whatever_the_methods_own_rule(tmp_path: Path) -> None:
    manifest = make_set(tmp_path, 2)
    scores = write_predictions(tmp_path / "p.h5", manifest, {"segments": 4, "k65-s0": 65}, "nearest")
    count_predictions(tmp_path / "p.h5", manifest, tmp_path / "c.npz", "objects_256", labels="instance")
    file = CountsFile(tmp_path / "c.npz")
    assert (file.preprocessing, file["segments"].upsample) == ("objects_256", "bilinear")
    assert file["k65-s0"].upsample == "nearest"
    assert file["k65-s0"].note.startswith("nearest instead of bilinear")
    expected, plain = np.zeros((2, 4, 4), np.int64)
    for entry, values in zip(manifest.entries("val"), torch.from_numpy(scores["segments"]), strict=True):
        mask = Image.open(tmp_path / str(entry.instances)).resize((256, 256), Image.Resampling.NEAREST)
        truth = np.asarray(mask)
        for table, maps in ((expected, values.softmax(0)), (plain, values)):
            up = F.interpolate(maps[None], size=(256, 256), mode="bilinear", align_corners=False)
            np.add.at(table, (up[0].argmax(0).numpy(), truth), 1)
    found = confusion(file["segments"])
    assert np.abs(found - expected).sum() < 200  # float16 scores move a few of 131,072 pixels
    assert np.abs(found - plain).sum() > 2000  # the softmax is taken before, not after


def test_errors_leave_no_file(tmp_path: Path) -> None:
    manifest = make_set(tmp_path, 2)
    write_predictions(tmp_path / "p.h5", make_set(tmp_path, 3), {"segments": 4}, "nearest")
    with pytest.raises(UserError, match="0000000000000002"):
        count_predictions(tmp_path / "p.h5", manifest, tmp_path / "c.npz", "full")
    write_predictions(tmp_path / "p.h5", manifest, {"segments": 4}, "nearest")
    with pytest.raises(UserError, match="preprocessing"):
        count_predictions(tmp_path / "p.h5", manifest, tmp_path / "c.npz", "squash")
    Image.fromarray(np.full((20, 30), 7, np.uint8)).save(tmp_path / "0.png")
    with pytest.raises(UserError, match=r"0\.png"):
        count_predictions(tmp_path / "p.h5", manifest, tmp_path / "c.npz", "full")
    assert not (tmp_path / "c.npz").exists()


def test_the_sequential_rule_replaces_in_place_in_the_mask_of_448_pixels(tmp_path: Path) -> None:
    """Person (raw 0), bicycle (1), bird (15) and zebra (23) of COCO, against PIL, a loop and torch."""
    raw = np.random.default_rng(0).choice(np.array([0, 1, 15, 23, 105, 255], np.uint8), (60, 90))
    raw[0, 0] = 9  # a pixel that the resized mask leaves out
    Image.fromarray(raw).resize((1000, 700), Image.Resampling.NEAREST).save(tmp_path / "0.png")
    lone = Image.new("L", (1000, 700))  # persons alone, but for one bird that vanishes when the mask is resized
    lone.putpixel((2, 2), 15)
    lone.save(tmp_path / "1.png")
    spec = make_spec("coco", "coco", tmp_path, table="coco27_alignseg_exact")
    entries = tuple(Entry(f"{i:016x}", f"{i}.jpg", f"{i}.png", None, 1000, 700) for i in range(2))
    manifest = Manifest(
        "toy", tmp_path, spec.classes, spec.colours, spec.lut(), {"val": entries}, label_rule=spec.label_rule
    )
    write_predictions(tmp_path / "p.h5", manifest, {"k1-s0": 1}, "nearest")
    count_predictions(tmp_path / "p.h5", manifest, tmp_path / "c.npz", "squash_448_100")
    found = CountsFile(tmp_path / "c.npz")["k1-s0"]
    for index, entry in enumerate(entries):
        resized = Image.open(tmp_path / str(entry.mask)).resize((448, 448), Image.Resampling.NEAREST)
        mask = np.asarray(resized).astype(np.int64)
        for value in np.unique(mask):
            mask[mask == value] = spec.lut()[value]
        truth = F.interpolate(torch.from_numpy(mask.astype(np.float32))[None, None], size=(100, 100)).long().flatten()
        expected = {int(c): int((truth == c).sum()) for c in truth.unique() if c != 255}
        here = found.image == index
        assert dict(zip(found.klass[here].tolist(), found.count[here].tolist(), strict=True)) == expected
    animal, person = spec.classes.index("animal"), spec.classes.index("person")
    assert {animal} < set(found.klass[found.image == 0].tolist())
    assert person not in found.klass[found.image == 0]
    assert set(found.klass[found.image == 1].tolist()) == {person}


def test_a_value_that_the_map_does_not_know_names_the_file(tmp_path: Path) -> None:
    manifest = make_set(tmp_path, 1)
    write_predictions(tmp_path / "p.h5", manifest, {"k2-s0": 2}, "nearest")
    Image.new("L", (30, 20), 77).save(tmp_path / "0.png")
    with pytest.raises(UserError, match=r"0\.png: value 77 is not in the label map"):
        count_predictions(tmp_path / "p.h5", manifest, tmp_path / "c.npz", "full")


def window(view: Frame, pixels: np.ndarray) -> np.ndarray:
    """The compared window of pixels at the view's size."""
    y, x = view.corner
    return pixels[y : y + len(view.rows), x : x + len(view.cols)]


def test_predictions_of_another_origin_are_refused(tmp_path: Path) -> None:
    manifest = make_set(tmp_path, 1)
    write_predictions(tmp_path / "p.h5", manifest, {"k5-s0": 5}, "nearest")
    with PredictionReader(tmp_path / "p.h5") as reader:
        record = reader.record
    same = {"method": record.method, "kind": record.kind, "seed": record.seed, "settings": dict(record.settings)}
    arguments = (tmp_path / "p.h5", manifest, tmp_path / "c.npz", "squash_448_100", 1)
    count_predictions(*arguments, origin=same)
    for changed, said in (
        ({"seed": 8}, f"seed {record.seed} instead of 8"),
        ({"settings": {**record.settings, "queries": 8}}, "settings.queries None instead of 8"),
    ):
        with pytest.raises(UserError, match=f"p.h5 holds other predictions: {said}"):
            count_predictions(*arguments, origin={**same, **changed})


def test_postprocessing_counts_refined_pixels_and_leaves_ids_without_a_patch_out(tmp_path: Path) -> None:
    manifest = make_set(tmp_path, 3)
    for i, entry in enumerate(manifest.entries("val")):
        pixels = np.random.default_rng(i).integers(0, 256, (entry.height, entry.width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / entry.image)
    variants = {"k5-s0": 5, "k70-s1": 70}
    scores = write_predictions(tmp_path / "p.h5", manifest, variants, "nearest")
    arguments = (tmp_path / "p.h5", manifest, tmp_path / "c.npz", "short_320_center", 2)
    count_predictions(*arguments, postprocess="pamr")
    refined = CountsFile(tmp_path / "c.npz")["k70-s1"]
    entry = manifest.entries("val")[1]
    view = frame("short_320_center", (entry.height, entry.width), (448, 448))
    picture = load_image(manifest.root / entry.image)
    ids = window(view, refined_ids(scores["k70-s1"].argmax(1)[1], picture, view.size, pamr_winners))
    truth = view.labels(load_labels(manifest.root / str(entry.mask), manifest.lut))
    expected = count_image(ids, truth, 70, CLASSES)
    mine = refined.image == 1
    assert (refined.segment[mine] == expected[0]).all()
    assert (refined.count[mine] == expected[2]).all()
    count_predictions(*arguments[:3], "objects_256", 2, postprocess="pamr")  # ids are refined there too, not scores
    soft = CountsFile(tmp_path / "c.npz")["k5-s0"]
    view = frame("objects_256", (entry.height, entry.width), (448, 448))
    ids = window(view, refined_ids(scores["k5-s0"].argmax(1)[1], picture, view.size, pamr_winners))
    assert set(soft.segment[soft.image == 1]) <= set(np.unique(ids))
    assert (
        soft.count[soft.image == 1].sum()
        == (view.labels(load_labels(manifest.root / str(entry.mask), manifest.lut)) != 255).sum()
    )
    count_predictions(*arguments, postprocess="bilinear")
    file = CountsFile(tmp_path / "c.npz")
    assert file["k5-s0"].upsample == "bilinear"
    assert file["k70-s1"].upsample == "nearest"
    assert file["k70-s1"].note.startswith("nearest instead of bilinear")
    for image, grid in enumerate(scores["k5-s0"].argmax(1)):
        found = file["k5-s0"]
        assert set(found.segment[found.image == image]) <= set(np.unique(grid))


def test_a_summary_says_how_many_segments_an_image_uses(tmp_path: Path) -> None:
    manifest = make_set(tmp_path, 3)
    scores = write_predictions(tmp_path / "p.h5", manifest, {"k3-s0": 3, "k9-s0": 9, "k3-s1": 3}, "nearest")
    count_predictions(tmp_path / "p.h5", manifest, tmp_path / "c.npz", "full", 2)
    found = summarise(tmp_path / "c.npz")
    rows = [mean_used_segments(CountsFile(tmp_path / "c.npz")[name]) for name in ("k3-s0", "k3-s1")]
    assert found == {"images": 3, "used": pytest.approx(np.mean(rows))}
    assert 1 <= found["used"] <= 3
    assert scores["k9-s0"].shape[1] == 9
