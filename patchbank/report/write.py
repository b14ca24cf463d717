"""Write `report.json` and `report.md` side by side, with the pictures of the set embedded.

Inputs: the report of `build_report` and the PNGs that the panel and curves rules drew (`panel.png`,
`<method>/curves.png`, `<method>/pictures.png`). Outputs: the two files, each written atomically.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from patchbank.files import write_json, write_text
from patchbank.plain import to_plain
from patchbank.report.content import Report
from patchbank.report.markdown import Figure, report_markdown

PANEL = (
    "Evaluation images spread evenly over the list, chosen without looking at any score. Clusters have the colour of "
    "the class that `hungarian` matches them to; numbers are those of the legend. Under each picture: share of the "
    "labelled pixels in the right class, and mean IoU over the classes present, of this image alone."
)
CLUSTERS = (
    "Evaluation images spread evenly over the list. Colours and numbers tell the clusters of one method apart; they "
    "name no class."
)
CURVES = (
    "One line for each training seed (moving mean; the values lie pale behind it): the losses, the learning rate, and "
    "the mean number of segments used. A fall of the last one means that segments collapse."
)

PICTURES = (
    "What the method makes on its way to a prediction, on some training images and for its first seed; the titles of "
    "the columns say what they show. No label was looked at."
)


def write_report(report: Report, figures: Sequence[Path], json_path: Path, markdown_path: Path) -> None:
    """Write both files of a report.

    Args:
        report: of `build_report`.
        figures: PNGs in the order of the page; a file named `panel.png` is the panel, `pictures.png` and `curves.png`
            show the method that their folder is named by.
        json_path: `report.json`.
        markdown_path: `report.md`.
    """
    write_json(json_path, to_plain(report))
    shown = [figure_of(path, labelled=bool(report.rows and report.classes)) for path in figures]
    write_text(markdown_path, report_markdown(report, shown, markdown_path.parent))


def figure_of(path: Path, labelled: bool) -> Figure:
    """Title and caption of a picture, told by its file name."""
    if path.stem == "panel":
        return Figure("Panel", PANEL if labelled else CLUSTERS, path)
    if path.stem == "pictures":
        return Figure(f"On the way to a prediction: {path.parent.name}", PICTURES, path)
    return Figure(f"Training curves of {path.parent.name}", CURVES, path)
