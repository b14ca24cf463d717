"""A finished run of a small set with names that HTML must escape: files as the pipeline leaves them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from bank_factory import extract_all, make_images
from PIL import Image

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.statistics import compute_statistics
from patchbank.datasets.manifest import Manifest
from patchbank.datasets.scan import scan
from patchbank.datasets.spec import make_spec
from patchbank.evaluation.count import count_predictions
from patchbank.evaluation.score import ScoreContext, score_method
from patchbank.files import write_json, write_npz
from patchbank.plain import to_plain
from patchbank.predictions import PredictionRecord, PredictionWriter
from patchbank.report.build import ReportContext, build_report
from patchbank.report.content import BackboneContext
from patchbank.report.curves import draw_curves
from patchbank.report.page.build import PageSource, write_page
from patchbank.report.panel import panel_columns

CLASSES = ("<b>sky</b> & sea", 'pole|"sign"', "tree's `x`")
IMAGES = 7
ODD = "a <i>& 'b' #%.png"
PROTOCOLS = ("per_image", "hungarian", "hungarian_iou", "overcluster")
METHODS = {"alignseg": "segments", "kmeans": "classes", "image-kmeans-4": "segments"}
VARIANTS = {"k3-s0": 3, "k5-s0": 5, "k6-s0": 6}
GRID = (4, 4)
AT, ELSEWHERE = "squash_448_100", "full"


def make_set(folder: Path) -> None:
    """Images, manifests (with and without labels), the evaluation split's bank and statistics."""
    make_images(folder, IMAGES)
    for kind in ("images", "masks"):
        (folder / "data" / kind / "val" / "003.png").rename(folder / "data" / kind / "val" / ODD)
    scan(make_spec("toy", "folder", folder / "data", classes=CLASSES), workers=1).save(folder / "manifest.json")
    extract_all(folder, ExtractSettings("whole", {"size": 64}, images_per_shard=4), "val")
    compute_statistics(folder / "val-whole.json", folder / "statistics.npz")


def make_run(folder: Path, results: Path, seed: int = 0, labelled: bool = True) -> Path:
    """Random predictions of every method, scored and reported, below `results`; returns `results/toy`."""
    out = results / "toy"
    manifest = Manifest.load(folder / "manifest.json")
    if not labelled:
        splits = {
            name: tuple(dataclasses.replace(e, mask=None) for e in found) for name, found in manifest.splits.items()
        }
        manifest = dataclasses.replace(manifest, splits=splits, classes=(), colours=())
    out.mkdir(parents=True)
    manifest.save(out / "manifest.json")
    images = [entry.id for entry in manifest.entries("val")]
    scores, elsewhere = list[Path](), list[Path]()
    for number, (method, kind) in enumerate(METHODS.items()):
        place = out / method / "seed0"
        place.mkdir(parents=True)
        rng = np.random.default_rng([seed, number])
        variants = {"segments": 4} if kind == "segments" else VARIANTS
        record = PredictionRecord("toy", "val", method, kind, 0, "nearest", (64, 64))  # type: ignore[arg-type]
        with PredictionWriter(place / "val.h5", record, images, variants, GRID) as writer:
            for name, k in variants.items():
                writer.write_labels(name, 0, rng.integers(0, k, (len(images), *GRID)))
        if kind == "segments":
            tables = {name: rng.integers(0, k, (len(images), 4)).astype(np.int32) for name, k in VARIANTS.items()}
            names = np.array(list(VARIANTS))
            write_npz(place / "clusters.npz", {**tables, "tables": names, "k_used": np.array([*VARIANTS.values()])})
        context = ScoreContext(
            dataset="toy",
            method=method,
            kind=kind,  # type: ignore[arg-type]
            classes=manifest.classes,
            preprocessing=AT,
            fit="train",
            settings={"centre": "mean"},
            floor=method != "alignseg",
            ceiling=False,
            oracle=None,
            protocols=PROTOCOLS,
        )
        clusters = {0: place / "clusters.npz"} if kind == "segments" else None
        for at, ending, written in ((AT, "", scores), (ELSEWHERE, f"-at-{ELSEWHERE}", elsewhere)):
            counts, there = place / f"counts{ending}.npz", dataclasses.replace(context, preprocessing=at)
            count_predictions(place / "val.h5", manifest, counts, at, workers=1)
            written.append(out / method / f"scores{ending}.json")
            write_json(written[-1], score_method({0: counts}, clusters, there))
    draw_curves({0: write_steps(out / "steps.csv", 20)}, out / "alignseg" / "curves.png")
    Image.new("RGB", (8, 8)).save(out / "alignseg" / "pictures.png")
    about = ReportContext(
        dataset="toy",
        classes=manifest.classes,
        images={"train": IMAGES, "eval": IMAGES},
        backbone=BackboneContext(
            "tiny", "vit_tiny_patch16_224", 1, False, (64, 64), "float32", "ab" * 32, "<random> weights"
        ),
        fit="train",
        preprocessing=AT,
        labelled=labelled,
        config="0123abcd",
        seeds={"training": [0], "kmeans": [0]},
    )
    write_json(out / "report.json", to_plain(build_report(scores, about, elsewhere=elsewhere)))
    return out


def page_source(folder: Path, out: Path, pictures: int = 21) -> PageSource:
    """What the rule `page` gives to `write_page`."""
    columns = panel_columns(
        [(method, kind, 0) for method, kind in METHODS.items()],
        [out / method / "seed0" / "val.h5" for method in METHODS],
        [out / method / "scores.json" for method in METHODS],
        [out / method / "seed0" / "clusters.npz" for method, kind in METHODS.items() if kind == "segments"],
    )
    return PageSource(
        report=out / "report.json",
        manifest=out / "manifest.json",
        columns=columns,
        counts=[out / column.title / "seed0" / "counts.npz" for column in columns],
        bank=folder / "val-whole.json",
        statistics=folder / "statistics.npz",
        curves=[out / "alignseg" / "curves.png"],
        ways=[out / "alignseg" / "pictures.png"],
        benchmarks=folder / "benchmarks",
        pictures=pictures,
    )


def make_page(folder: Path, out: Path) -> Path:
    """Write the page with two stages' times; returns `index.html`."""
    times = folder / "benchmarks"
    times.mkdir(exist_ok=True)
    head = "s\th:m:s\tmax_rss\n"
    (times / "train-alignseg-seed0.tsv").write_text(head + "2.5\t0:00:02\t900.5\n")
    (times / "train-alignseg-seed1.tsv").write_text(head + "1.5\t0:00:01\t-\n")
    (times / "report.tsv").write_text(head + "0.1\t0:00:00\tNA\n")
    (times / "page.tsv").write_text(head + "9.9\t0:00:09\t100\n")
    write_page(page_source(folder, out), out)
    return out / "index.html"


def write_steps(path: Path, steps: int, shift: float = 0.0) -> Path:
    lines = ["step,epoch,lr,loss_patch,loss_query,loss,used_segments,images_per_second"]
    lines += [f"{s},{s // 10},0.0005,{shift - s},{1 / (s + 1)},{shift},{2 + s / steps},100" for s in range(steps)]
    path.write_text("\n".join(lines) + "\n")
    return path
