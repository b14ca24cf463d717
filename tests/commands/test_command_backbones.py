"""`patchbank backbones`: every encoder of the configuration with what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchbank.cli import main
from patchbank.config.load import default_config, read_config
from patchbank.weights.facts import stated


def test_backbones_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results/weights/dino_vits8").mkdir(parents=True)
    Path("results/weights/dino_vits8/weights.safetensors").touch()
    assert main(["backbones"]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    assert set(default_config().values["backbones"]) <= set(lines)
    # 784 tokens of 384 and the class token, 6 heads' attention, two bytes each, a thousand images
    size = str(round(2 * (784 * 384 + 384 + 6 * 784) * 1000 / 1e6))
    assert lines["dino_vits16"][1:9] == ["11", "of", "0-11", "384", "16", "1", "yes", size]
    assert lines["dino_vits16"][9] == "no"
    assert lines["dino_vits8"][9] == "yes"
    assert "(no class token)" in " ".join(lines["siglip2_b16"])
    assert lines["dinov3_vits16"][-1] == "vit_small_patch16_dinov3"


def test_shipped_entries_fit_what_timm_says() -> None:
    """Every entry names a tag that timm has, its licence, and a norm that does something."""
    config = default_config()
    for name in config.values["backbones"]:
        spec = config.backbone(name)
        assert spec.facts is not None, name
        known = stated(spec.model, spec.sources)
        assert known is not None, name
        assert (spec.mean, spec.std) == (known.mean, known.std), name
        assert all("licence" in source for source in spec.sources), name
        assert spec.note, name
        assert not spec.norm or spec.facts.norm == "norm", name


def test_an_entry_with_blocks_is_a_backbone_a_block() -> None:
    """And each of them names all others, so that it does not matter which one is asked for first."""
    config = read_config((), {"backbones": {"dino_vits16": {"blocks": [5, 8]}}})
    for name, block in (("dino_vits16", -1), ("dino_vits16-b5", 5), ("dino_vits16-b8", 8)):
        spec = config.backbone(name)
        assert spec.block == block
        assert {(one % 12, norm) for one, norm in (spec.read, *spec.blocks)} == {(5, True), (8, True), (11, True)}
    assert "dino_vits8-b5" not in config.values["backbones"]
