"""TransFGU's settings files: they load over config.yaml, and say what the published table says."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from patchbank.config.config import Config
from patchbank.config.folders import PROJECT, SCHEMA
from patchbank.config.load import checked
from patchbank.config.schema import merge
from patchbank.methods.transfgu.settings import TransFGUSettings

FOLDER = PROJECT / "workflow" / "settings"
VOC, COCO = [0.6, 0.5, 0.4, 0.3], [0.5, 0.4, 0.3, 0.2]
TABLE: dict[str, tuple[Any, ...]] = {
    # set, things, stuff, K, input, train, scales, repeat, batch, epochs, interval, start, lr, gradient_batch, score
    "voc": ("voc", 20, 0, 21, [320, 320], [320, 320], VOC, 20, 512, 100, [5, 5, 5, 5, 4, 4, 4, 4, 4, 3], 5, 1e-4, 8,
            "37.15 / 83.59"),
    "coco80": ("coco80", 80, 0, 81, [320, 320], [320, 320], COCO, 0, 256, 200, [3, 3, 3, 2], 3, 1e-4, 8,
               "12.69 / 64.31"),
    "coco171": ("coco171", 80, 91, 171, [320, 320], [320, 320], COCO, 0, 256, 200, [3, 3, 3, 2], 3, 1e-4, 8,
                "11.93 / 34.32"),
    "coco27": ("coco27", 12, 15, 27, [320, 320], [320, 320], COCO, 0, 256, 200, [2], 2, 1e-4, 8, "16.19 / 44.52"),
    "cityscapes": ("cityscapes27", 27, 0, 27, [320, 640], [320, 640], COCO, 20, 256, 50, [1], 1, 5e-5, 2,
                   "16.83 / 77.92"),
    "lip5": ("lip5", 5, 0, 6, [640, 320], [480, 240], COCO, 0, 512, 100, [2], 2, 1e-4, 2, "25.16 / 65.76"),
    "lip16": ("lip16", 16, 0, 17, [640, 320], [480, 240], COCO, 0, 512, 100, [2], 2, 2e-5, 2, "15.49 / 60.08"),
    "lip19": ("lip19", 19, 0, 20, [640, 320], [640, 320], COCO, 0, 256, 100, [3, 3, 3, 2], 3, 2e-5, 2,
              "12.24 / 42.52"),
}  # fmt: skip

SCHEDULES = (
    {"transfgu": (64, 20, 2, [2]), "transfgu-tokens": (8, 12, 6, [6])},
    {"transfgu": (8, 20, 10, [10]), "transfgu-tokens": (8, 24, 12, [12])},
)
"""Batch, epochs, start and interval of the teacher on real sets, and on demo."""


def loaded(name: str, dataset: str, classes: int) -> Config:
    """config.yaml with the file over it; a set that config.yaml has not gets a folder and that many classes."""
    values: dict[str, Any] = yaml.safe_load((PROJECT / "config.yaml").read_text())
    changes: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    if dataset not in values["datasets"]:
        known = yaml.safe_load(SCHEMA.read_text())["properties"]["datasets"]["additionalProperties"]["properties"]
        entry = {k: v for k, v in changes["datasets"][dataset].items() if k in known and k != "table"}
        changes["datasets"][dataset] = {"layout": "folder", "classes": [f"c{i}" for i in range(classes)], **entry}
    return checked(merge(values, changes))


@pytest.mark.parametrize("name", TABLE)
def test_a_file_says_what_is_published(name: str) -> None:
    dataset, things, stuff, k, size, train, scales, *training, score = TABLE[name]
    repeat, batch, epochs, interval, start, lr, divisor = training
    config = loaded(f"transfgu_{name}", dataset, k)
    methods = {method.name: method for method in config.methods(dataset)}
    assert "alignseg" not in methods
    settings = TransFGUSettings.from_mapping(methods["transfgu"].settings)
    assert (settings.things, settings.stuff, settings.classes) == (things, stuff, k)
    assert settings.background == (k > things + stuff)
    assert (settings.repeat, settings.batch_size, settings.epochs) == (repeat, batch, epochs)
    assert (list(settings.teacher_interval), settings.teacher_start) == (interval, start)
    assert (settings.lr, settings.gradient_batch, settings.weight_decay) == (lr, divisor, 5e-4)
    assert (settings.heads, settings.layers, settings.niter, settings.nredo, settings.centre) == (6, 2, 100, 1, "none")
    assert (settings.stage, settings.pseudo_label, settings.window_feature) == (
        "segmenter", "attention_gradient", "class_token",
    )  # fmt: skip
    assert not settings.restart_at_end
    maps = TransFGUSettings.from_mapping(methods["transfgu-maps"].settings)
    shared = ("things", "stuff", "background", "gradient_batch", "niter", "nredo", "pseudo_label", "window_feature")
    assert [getattr(maps, key) for key in shared] == [getattr(settings, key) for key in shared]
    assert maps.stage == "pseudo_labels"
    entry = config.values["datasets"][dataset]
    assert (entry["train_split"], entry["images"]) == ("train", "annotated" if "coco" in name else "all")
    recipes = config.of(dataset)["recipes"]
    assert recipes["whole"] == {"size": size, "shift": 1, "resize": "torch"}
    rule = "nearest" if "coco" in name else "torch"
    assert recipes["lastblock"] == {"size": size, "resize": rule}
    select = {"voc": "foreground", "coco80": "foreground", "coco27": "foreground+background"}
    select["coco171"] = select["coco27"]
    expected = {"size": size, "scales": scales, "window": 320, "select": select.get(name, "all"), "resize": rule}
    assert recipes["windows"] == expected
    assert recipes["augmented"]["size"] == train
    assert config.of(dataset)["preprocessing"] == "squash_320"
    assert config.backbone_name(dataset) == "dino_vits8"
    head = (FOLDER / f"transfgu_{name}.yaml").read_text().split("datasets:")[0]
    for word in ("Command:", "Hardware:", "Time:", "Disk:", f"published {score} mIoU", "TransFGU paper, DINO ViT-S/8"):
        assert word in head, word
    assert f"snakemake eval_{dataset} --configfile workflow/settings/transfgu_{name}.yaml" in head


@pytest.mark.parametrize(("dataset", "classes"), [("msrc", 23), ("camvid", 11), ("demo", None)])
def test_the_generic_file_fits_any_set(dataset: str, classes: int | None) -> None:
    config = loaded("transfgu_generic", dataset, 0)
    methods = {method.name: method for method in config.methods(dataset)}
    assert {"alignseg", "kmeans", "transfgu", "transfgu-tokens"} <= set(methods)
    for name in ("transfgu", "transfgu-tokens"):
        settings = TransFGUSettings.from_mapping(methods[name].settings)
        assert settings.classes == (classes or config.clusters(dataset)[0])
        schedule = (settings.batch_size, settings.epochs, settings.teacher_start, list(settings.teacher_interval))
        assert schedule == SCHEDULES[dataset == "demo"][name]
    assert methods["transfgu-tokens"].traits.recipes == ("whole", "augmented")
    floor = methods["kmeans-whitened"].settings
    own = methods["transfgu-tokens"].settings
    assert (floor["projection"]["pca"], floor["projection"]["whiten"]) == (own["pca"], own["whiten"]) == (64, True)
    assert floor["kmeans"] == {"niter": own["niter"], "nredo": own["nredo"]}
    assert not methods["kmeans"].settings["projection"]["whiten"]
    assert config.of(dataset)["recipes"]["windows"]["window"] == 224


def test_the_method_is_not_part_of_the_default_run() -> None:
    values: dict[str, Any] = yaml.safe_load((PROJECT / "config.yaml").read_text())
    assert not [name for name, entry in values["methods"].items() if (entry or {}).get("kind", name) == "transfgu"]
