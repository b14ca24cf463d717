from __future__ import annotations

import pytest
from report_factory import make_row

from patchbank.config.load import default_config
from patchbank.evaluation import protocols
from patchbank.evaluation.preprocessing import VARIANTS
from patchbank.report.published import every_number, published
from patchbank.report.rows import Row


def test_every_number_names_what_exists_and_a_source() -> None:
    config = default_config()
    for entry in every_number():
        assert entry.protocol in protocols.names()
        assert entry.preprocessing in VARIANTS
        assert 0 < entry.score < 100
        assert entry.source.startswith("https://")
        if entry.set in config.datasets:
            assert entry.protocol in ("objects", "overcluster") or config.spec(entry.set).classes
    assert len(set(every_number())) == len(every_number())
    assert len([entry for entry in every_number() if entry.method == "TransFGU"]) == 8


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (make_row("a", "hungarian", 1.0, k=21), [37.15, 46.0, 50.0, 47.9, 53.3, 53.2, 53.4, 30.2, 25.8]),
        (make_row("a", "per_image", 1.0, k=None), [69.5]),
        (make_row("a", "per_image", 1.0, k=None, variant="without_first"), []),
        (make_row("a", "hungarian_iou", 1.0, k=21), []),
        (make_row("a", "overcluster", 1.0, k=500, variant="precision"), [53.5, 59.7]),
        (make_row("a", "overcluster", 1.0, k=300, variant="precision"), []),
        (make_row("a", "overcluster", 1.0, k=500, variant="iou"), []),
    ],
)
def test_only_numbers_of_the_same_protocol_stand_beside_ours(row: Row, expected: list[float]) -> None:
    assert [entry.score for entry in published("voc", [row])] == expected
    assert published("msrc", [row]) == []
