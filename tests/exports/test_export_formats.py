"""Every format is read back by its readers: pycocotools, rasterio, shapely, and CVAT's own library if it is there."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import rasterio
import shapely
import yaml
from export_factory import COLOURS, EPSG, SIZES, SUFFIXES, TRANSFORM, decode_brush, labels_of, make_segmented
from PIL import Image
from pycocotools.coco import COCO
from rasterio.features import rasterize

from patchbank.cli import main
from patchbank.commands.export_labels import FORMATS
from patchbank.datasets.geo import read_geo
from patchbank.errors import UserError
from patchbank.exports import formats
from patchbank.exports.formats import FormatOptions, distinct_colours, geojson, label_studio
from patchbank.exports.formats.cvat import voc_colours
from patchbank.exports.regions import RegionSettings, Taken
from patchbank.exports.source import Category, Picture, Source


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_segmented(tmp_path_factory.mktemp("exports"))


def export(out: Path, folder: Path, kind: str, *more: str) -> Path:
    assert main(["export", "labels", str(out), "--format", kind, "--out", str(folder), *more]) == 0
    return folder


def test_the_command_knows_every_format() -> None:
    assert sorted(FORMATS) == formats.names()
    for name in FORMATS:
        assert formats.format_of(name).HELP


@pytest.mark.parametrize("instances", [False, True])
@pytest.mark.parametrize("as_polygons", [False, True])
def test_coco(out: Path, tmp_path: Path, as_polygons: bool, instances: bool) -> None:
    more = [*(["--polygons"] if as_polygons else []), *(["--instances"] if instances else [])]
    coco = COCO(export(out, tmp_path / "coco", "coco", *more) / "annotations.json")
    assert [category["name"] for category in coco.dataset["categories"]] == [f"cluster {i}" for i in range(4)]
    files = {image["file_name"]: image for image in coco.dataset["images"]}
    assert set(files) == {f"{name}{suffix}" for name, suffix in SUFFIXES.items()}
    for name, suffix in SUFFIXES.items():
        image, labels = files[f"{name}{suffix}"], labels_of(out, name)
        assert (image["height"], image["width"]) == labels.shape
        read = np.full(labels.shape, 255)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            mask = coco.annToMask(annotation).astype(bool)
            assert (read[mask] == 255).all()
            read[mask] = annotation["category_id"] - 1
            assert annotation["area"] == mask.sum()
            x, y, width, height = annotation["bbox"]
            assert mask[y : y + height, x : x + width].sum() == mask.sum()
            assert mask[y].any()
            assert mask[:, x + width - 1].any()
        np.testing.assert_array_equal(read, labels)


def test_panoptic_segments_partition_the_picture(out: Path, tmp_path: Path) -> None:
    folder = export(out, tmp_path / "panoptic", "coco-panoptic", "--instances")
    content = json.loads((folder / "panoptic.json").read_text())
    assert len(content["images"]) == len(SIZES)
    for image, annotation in zip(content["images"], content["annotations"], strict=True):
        assert image["id"] == annotation["image_id"]
        name = annotation["file_name"].removesuffix(".png")
        rgb = np.asarray(Image.open(folder / "panoptic" / annotation["file_name"])).astype(np.int64)
        ids = rgb @ [1, 256, 65536]
        table = {0: 255, **{segment["id"]: segment["category_id"] - 1 for segment in annotation["segments_info"]}}
        np.testing.assert_array_equal(np.vectorize(table.get)(ids), labels_of(out, name))
        areas = {segment["id"]: segment["area"] for segment in annotation["segments_info"]}
        assert areas == {number: (ids == number).sum() for number in np.unique(ids[ids > 0])}
    whole = json.loads((export(out, tmp_path / "whole", "coco-panoptic") / "panoptic.json").read_text())
    assert all(len(one["segments_info"]) <= 4 for one in whole["annotations"])


def test_cvat_by_hand(out: Path, tmp_path: Path) -> None:
    archive = zipfile.ZipFile(export(out, tmp_path / "cvat", "cvat", "--instances") / "cvat.zip")
    lines = archive.read("labelmap.txt").decode().splitlines()
    assert lines[:2] == ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    table = {tuple(map(int, line.split(":")[1].split(","))): line.split(":")[0] for line in lines[1:]}
    assert len(table) == 5  # colours are distinct, though two clusters have the same one
    assert archive.read("ImageSets/Segmentation/default.txt").decode().splitlines() == ["a", "deep/b é", "map"]
    for name in SIZES:
        labels = labels_of(out, name)
        rgb = np.asarray(Image.open(io.BytesIO(archive.read(f"SegmentationClass/{name}.png"))))
        for colour, label in table.items():
            wanted = 255 if label == "background" else int(label.split()[1])
            np.testing.assert_array_equal((rgb == colour).all(-1), labels == wanted)
        objects = np.asarray(Image.open(io.BytesIO(archive.read(f"SegmentationObject/{name}.png"))))
        np.testing.assert_array_equal((objects == 0).all(-1), labels == 255)


def test_vocs_colours_and_distinct_ones() -> None:
    assert voc_colours(np.array([[0, 1, 2, 3, 21, 255]]))[0].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [128, 128, 0],
        [128, 64, 128],
        [224, 224, 192],
    ]
    same = [Category(str(index), (0, 0, 0) if index % 2 else (7, 7, 7)) for index in range(300)]
    found = distinct_colours(same)
    assert len({*found, (0, 0, 0)}) == 301
    assert found[0] == (7, 7, 7)


def test_datumaro_imports_the_zip(out: Path, tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed (pip install datumaro)")
    archive = export(out, tmp_path / "cvat", "cvat", "--instances") / "cvat.zip"
    zipfile.ZipFile(archive).extractall(tmp_path / "read")
    dataset = datumaro.Dataset.import_from(str(tmp_path / "read"), "voc_segmentation")
    labels = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
    assert {item.id for item in dataset} == set(SIZES)
    for item in dataset:
        read = np.full(SIZES[item.id], 255)
        for mask in item.annotations:
            if labels[mask.label] != "background":
                read[np.asarray(mask.image, dtype=bool)] = int(labels[mask.label].split()[1])
        np.testing.assert_array_equal(read, labels_of(out, item.id))


def test_label_studio(out: Path, tmp_path: Path) -> None:
    folder = export(out, tmp_path / "ls", "label-studio", "--image-prefix", "/data/local-files/?d=")
    tasks = json.loads((folder / "tasks.json").read_text())
    addresses = [urlsplit(task["data"]["image"]) for task in tasks]
    assert [parse_qs(one.query)["d"] for one in addresses] == [[f"{name}{suffix}"] for name, suffix in SUFFIXES.items()]
    setup = (folder / "labels.xml").read_text()
    for task, name in zip(tasks, SIZES, strict=True):
        labels = labels_of(out, name)
        for result in task["predictions"][0]["result"]:
            assert (result["original_height"], result["original_width"]) == labels.shape
            assert (result["type"], result["value"]["format"]) == ("brushlabels", "rle")
            (label,) = result["value"]["brushlabels"]
            assert f'<Label value="{label}"' in setup
            mask = decode_brush(result["value"]["rle"], labels.shape)
            np.testing.assert_array_equal(mask, labels == int(label.split()[1]))


@pytest.mark.parametrize(
    ("prefix", "address"),
    [
        ("/data/local-files/?d=album/", "/data/local-files/?d=album/c%23%3A%25/d%20%26%20%C3%A9.png"),
        ("https://host/", "https://host/c%23%3A%25/d%20%26%20%C3%A9.png"),
        ("s3://bucket/", "s3://bucket/c#:%/d & é.png"),
        ("", "c#:%/d & é.png"),
    ],
)
def test_label_studio_finds_files_of_any_name(tmp_path: Path, prefix: str, address: str) -> None:
    picture = Picture("x", "c#:%/d & é.png", np.zeros((2, 2), np.int64))
    source = Source(tmp_path, "clusters", (Category("a", (1, 2, 3)),), 1, lambda: iter([picture]))
    label_studio.write(Taken(source, RegionSettings()), tmp_path, FormatOptions(image_prefix=prefix))
    assert json.loads((tmp_path / "tasks.json").read_text())[0]["data"]["image"] == address


def test_label_studio_decodes_its_brushes(out: Path, tmp_path: Path) -> None:
    reason = "label-studio-sdk is not installed (pip install label-studio-sdk)"
    brush = pytest.importorskip("label_studio_sdk.converter.brush", reason=reason)
    folder = export(out, tmp_path / "ls", "label-studio")
    for name, task in zip(sorted(SIZES), json.loads((folder / "tasks.json").read_text()), strict=True):
        labels = labels_of(out, name)
        for result in task["predictions"][0]["result"]:
            (label,) = result["value"]["brushlabels"]
            mask = brush.decode_rle(result["value"]["rle"]).reshape(*labels.shape, 4)[..., 3]
            np.testing.assert_array_equal(mask == 255, labels == int(label.split()[1]))


def test_geojson_lies_on_the_map(out: Path, tmp_path: Path) -> None:
    folder = export(out, tmp_path / "geojson", "geojson")
    for name in SIZES:
        content = json.loads((folder / f"{name}.geojson").read_text())
        labels = labels_of(out, name)
        on_map = name == "map"
        assert (content.get("crs", {}).get("properties", {}).get("name") == f"urn:ogc:def:crs:EPSG::{EPSG}") == on_map
        shapes = []
        for feature in content["features"]:
            check_qupath(feature)
            shape = shapely.from_geojson(json.dumps(feature["geometry"]))
            assert shape.is_valid
            for polygon in shape.geoms:
                assert polygon.exterior.is_ccw
                assert not any(hole.is_ccw for hole in polygon.interiors)
            shapes.append((shape, int(feature["properties"]["class"].split()[1]) + 1))
        back = {"transform": TRANSFORM} if on_map else {}
        read = rasterize(shapes, labels.shape, fill=0, dtype="uint8", **back)
        np.testing.assert_array_equal(np.where(read == 0, 255, read - 1), labels)


def test_geojson_of_a_system_without_a_code_is_refused(tmp_path: Path) -> None:
    written = "+proj=laea +lat_0=10 +lon_0=-81 +datum=WGS84 +units=m"  # a system that no registry holds
    shape = {"driver": "GTiff", "height": 4, "width": 4, "count": 1, "dtype": "uint8", "transform": TRANSFORM}
    for name, system in (("own", written), ("none", None)):
        with rasterio.open(tmp_path / f"{name}.tif", "w", **shape, crs=system) as raster:
            raster.write(np.ones((1, 4, 4), np.uint8))
        picture = Picture(name, f"{name}.tif", np.zeros((4, 4), np.int64), read_geo(tmp_path / f"{name}.tif"))
        assert picture.geo is not None
        source = Source(
            tmp_path, "classes", (Category("field", (1, 2, 3)),), 1, lambda picture=picture: iter([picture])
        )
        with pytest.raises(UserError, match=rf"{name}\.tif names no coordinate system .* --format geotiff"):
            geojson.write(Taken(source, RegionSettings()), tmp_path / "out", FormatOptions())


def check_qupath(feature: dict[str, object]) -> None:
    """What QuPath's reader asks of a feature (https://qupath.readthedocs.io, "Exporting annotations", GeoJSON)."""
    properties = feature["properties"]
    assert isinstance(properties, dict)
    assert feature["type"] == "Feature"
    assert properties["objectType"] in ("annotation", "detection")
    assert isinstance(properties["classification"]["name"], str)
    colour = properties["classification"]["color"]
    assert len(colour) == 3
    assert all(isinstance(part, int) and 0 <= part < 256 for part in colour)


def test_simplified_geojson_covers_its_pixels_within_the_tolerance(out: Path, tmp_path: Path) -> None:
    more = ("--instances", "--min-area", "12", "--tolerance")
    exact, simple = (export(out, tmp_path / f"t{px}", "geojson", *more, str(px)) for px in (0, 1.5))
    corners = [0, 0]
    for name in SIZES:
        labels, pixel = labels_of(out, name), 0.5 if name == "map" else 1.0  # metres, or pixels
        back = {"transform": TRANSFORM} if name == "map" else {}
        features = [json.loads((folder / f"{name}.geojson").read_text())["features"] for folder in (exact, simple)]
        for of_pixels, simplified in zip(*features, strict=True):
            shape, truth = (shapely.from_geojson(json.dumps(one["geometry"])) for one in (simplified, of_pixels))
            assert (shape.geom_type, shape.is_valid, truth.is_valid) == ("Polygon", True, True)
            assert simplified["properties"] == of_pixels["properties"]
            assert simplified["properties"]["pixels"] >= 12
            number = int(simplified["properties"]["class"].split()[1])
            covered = rasterize([truth], labels.shape, dtype="uint8", **back) == 1
            assert covered.sum() == simplified["properties"]["pixels"]
            assert (labels[covered] == number).all()
            # no pixel is further outside of its polygon than the tolerance, and none of it further from its pixels
            assert shape.buffer(1.5 * pixel + 1e-6).covers(truth)
            assert truth.buffer(1.5 * pixel + 1e-6).covers(shape)
            corners[0] += shapely.get_num_coordinates(truth)
            corners[1] += shapely.get_num_coordinates(shape)
    assert corners[1] < corners[0] / 2


def test_geotiff(out: Path, tmp_path: Path) -> None:
    folder = export(out, tmp_path / "geotiff", "geotiff")
    for name in SIZES:
        with rasterio.open(folder / f"{name}.tif") as raster:
            np.testing.assert_array_equal(raster.read(1), labels_of(out, name))
            assert raster.nodata == 255
            assert [raster.colormap(1)[index][:3] for index in range(4)] == [tuple(c) for c in COLOURS.tolist()]
            if name == "map":
                assert raster.crs.to_epsg() == EPSG
                assert raster.transform == TRANSFORM
    assert "<Category>cluster 2</Category>" in (folder / "map.tif.aux.xml").read_text()
    assert json.loads((folder / "classes.json").read_text())["classes"][3]["name"] == "cluster 3"


def test_png_and_yolo(out: Path, tmp_path: Path) -> None:
    folder = export(out, tmp_path / "png", "png")
    yolo = export(out, tmp_path / "yolo", "yolo-seg")
    assert yaml.safe_load((yolo / "data.yaml").read_text()) == {
        "train": "images",  # beside the file: a `path` would be taken from the working or the datasets' folder
        "val": "images",
        "names": {i: f"cluster {i}" for i in range(4)},
    }
    for name, (height, width) in SIZES.items():
        labels = labels_of(out, name)
        image = Image.open(folder / "masks" / f"{name}.png")
        np.testing.assert_array_equal(np.asarray(image), labels)
        assert image.getpalette()[:3] == COLOURS[0].tolist()
        shapes = []
        for row in csv.reader((yolo / "labels" / f"{name}.txt").open(), delimiter=" "):
            corners = np.round(np.array(row[1:], dtype=np.float64).reshape(-1, 2) * (width, height))
            shapes.append((shapely.Polygon(corners), int(row[0]) + 1))
        read = rasterize(shapes, labels.shape, dtype="uint8")
        np.testing.assert_array_equal(np.where(read == 0, 255, read - 1), labels)
