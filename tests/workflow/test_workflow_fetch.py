"""The fetch rules: they run when named and only then, and each time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from archives import ARCHIVES
from web_server import Page, Server
from workflow_tools import Project

pytestmark = pytest.mark.exhaustive


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    yield server
    server.close()


def test_fetch_rules(server: Server, tmp_path: Path) -> None:
    project = Project(tmp_path / "p", {})
    listed = project.done("--list-target-rules").split()
    assert {"fetch_voc", "fetch_coco", "fetch_cityscapes", "fetch_lip"} <= set(listed)
    assert not any(name.startswith("fetch_") for name in project.planned("all"))

    result = project.snakemake("--cores", "1", "fetch_cityscapes")
    assert result.returncode != 0
    assert "Go to https://www.cityscapes-dataset.com/downloads/" in result.stdout
    assert "Traceback" not in result.stdout

    path = project.folder / "patchbank" / "fetch" / "tables" / "voc.yaml"
    table = yaml.safe_load(path.read_text())
    for archive in table["archives"]:
        name = archive.get("name") or archive["url"].rpartition("/")[2]
        server.pages[f"/{name}"] = Page(ARCHIVES[name], cuts=[500])
        archive["url"] = server.url(f"/{name}")
        archive.pop("size", None)
        archive.pop("md5", None)
    path.write_text(yaml.safe_dump(table))
    root = tmp_path / "sets"
    voc = root / "voc" / "VOCdevkit" / "VOC2012"
    for place in ("once", "twice"):
        project.done("fetch_voc", "--config", f"data_root={root}")
        assert (voc / "ImageSets" / "Segmentation" / "trainaug.txt").read_text() == "a\nb\nc\n"
        assert (voc / "SegmentationClassAug" / "a.png").is_file()
        (voc / "SegmentationClassAug").rename(tmp_path / place)
    assert "no checksum" in (project.folder / "results" / "logs" / "fetch" / "voc.log").read_text()
