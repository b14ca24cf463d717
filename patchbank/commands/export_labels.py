"""`patchbank export labels RUN --format F --out DIR`: labels for annotation, map and training tools."""

from __future__ import annotations

import argparse
import sys

from patchbank.outputs import add_overwrite_export
from patchbank.paths import expand, expand_path

HELP = "write the labels of a run for another tool: COCO, CVAT, Label Studio, GeoJSON, GeoTIFF, YOLO, PNG"
FORMATS = ("coco", "coco-panoptic", "cvat", "geojson", "geotiff", "label-studio", "png", "yolo-seg")
"""Modules of `patchbank.exports.formats`, named here so that help answers at once."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, the format, what of it, the output."""
    parser.add_argument(
        "folder", metavar="RUN", type=expand, help="a row of results (results/mine/kmeans), or what `segment` wrote"
    )
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--out", required=True, type=expand, help="the folder to write")
    add_overwrite_export(parser)
    parser.add_argument("--names", type=expand_path, metavar="FILE", help="names.yaml of the page: names of clusters")
    parser.add_argument("--clusters", action="store_true", help="clusters, even where they are matched to classes")
    parser.add_argument("--variant", metavar="kN-sN", help="number of clusters and seed (default: those of the page)")
    parser.add_argument(
        "--upsample",
        choices=["bilinear", "nearest"],
        default="bilinear",
        help="from patches to pixels, of a row: of soft assignments (default), or the segment of the nearest patch",
    )
    parser.add_argument("--instances", action="store_true", help="each connected piece is an object of its own")
    parser.add_argument(
        "--min-area", type=int, default=0, metavar="PX", help="pieces of fewer pixels lose their label (default 0)"
    )
    parser.add_argument(
        "--tolerance", type=float, default=0.0, metavar="PX", help="how far a polygon may lie off (default 0, exact)"
    )
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="NAME", help="categories that are not written")
    parser.add_argument("--polygons", action="store_true", help="coco: polygons instead of run lengths")
    parser.add_argument(
        "--image-prefix", default="", metavar="TEXT", help="coco, label-studio: what stands before a picture's name"
    )


def run(options: argparse.Namespace) -> int:
    """Export; what was dropped is told on stderr."""
    from patchbank.exports.formats import FormatOptions
    from patchbank.exports.labels import ExportSettings, export_labels
    from patchbank.exports.regions import RegionSettings
    from patchbank.exports.source import Choice

    settings = ExportSettings(
        options.format,
        Choice(options.names, options.variant, options.clusters, options.upsample),
        RegionSettings(options.min_area, options.tolerance, options.instances, tuple(options.leave_out)),
        FormatOptions(options.polygons, options.image_prefix),
    )
    taken = export_labels(options.folder, options.out, settings, options.overwrite)
    if dropped := sum(taken.dropped.values()):
        each = ", ".join(f"{name} {count}" for name, count in sorted(taken.dropped.items()) if count)
        print(f"patchbank: {dropped} pieces below {options.min_area} pixels have no label: {each}", file=sys.stderr)
    source = taken.source
    print(f"{options.out}: {taken.pictures} pictures, {len(source.categories)} {source.kind} as {options.format}")
    return 0
