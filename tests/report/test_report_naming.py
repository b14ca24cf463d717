"""What a page says of clusters that people name: share of patches, most similar other one, whose names they are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from report_factory import make_row

from patchbank.files import sha256_file, write_npz
from patchbank.report.page.naming import Clustering, clusterings, fit_of
from patchbank.report.page.sheets import Regions, nearest_clusters
from patchbank.report.page.tables import matrix
from patchbank.report.panel import PanelColumn


def test_the_most_similar_other_cluster() -> None:
    angles = {4: 0.0, 7: 0.4, 9: 1.5}
    unit = {cluster: np.array([np.cos(angle), np.sin(angle)], np.float32) for cluster, angle in angles.items()}
    clusters = [4, 7, 9, 4]
    regions = Regions(clusters, [0, 0, 1, 1], [unit[cluster] for cluster in clusters])
    assert nearest_clusters(regions) == {4: 7, 7: 4, 9: 7}
    assert nearest_clusters(Regions([3], [0], [unit[4]])) == {}
    assert nearest_clusters(Regions()) == {}


def test_names_belong_to_the_file_that_holds_the_clusters(tmp_path: Path) -> None:
    assert fit_of(tmp_path) == ""
    (tmp_path / "checkpoint.safetensors").write_bytes(b"weights")
    assert fit_of(tmp_path) == sha256_file(tmp_path / "checkpoint.safetensors")[:16]
    write_npz(tmp_path / "clusters.npz", {"a": np.zeros(2)})
    fit = sha256_file(tmp_path / "clusters.npz")[:16]
    assert fit_of(tmp_path) == fit
    column = PanelColumn("row", tmp_path / "val.h5", "segments", None, (), "k3-s0")
    assert clusterings([column]) == {"row": Clustering("k3-s0", fit)}


def test_the_matrix_has_a_row_for_every_method_and_its_first_score_under_every_protocol() -> None:
    rows = [
        make_row("mine", "hungarian", 41.26),
        make_row("mine", "overcluster", 50.0, k=300, variant="iou"),
        make_row("mine", "overcluster", 51.0, k=500, variant="iou"),
        make_row("floor", "hungarian", 30.0, floor=True),
    ]
    found = matrix(SimpleNamespace(rows=rows))  # type: ignore[arg-type]
    assert found is not None
    assert [column.title for column in found.columns] == ["method", "hungarian", "overcluster"]
    assert [(*line.cells, line.mark) for line in found.lines] == [
        ("mine", "41.3", "50.0", ""),
        ("floor", "30.0", "–", "floor"),
    ]
    assert matrix(SimpleNamespace(rows=[])) is None
