"""A package in the place of the dense CRF's library, for tests of what is around it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `pydensecrf` without a field: the smallest unary energy wins; it hangs on a black first pixel."""
    package = tmp_path / "site" / "pydensecrf"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "utils.py").write_text(
        "import numpy as np\n"
        "def unary_from_softmax(p):\n"
        "    assert np.allclose(p.sum(0), 1, atol=1e-5)\n"
        "    return -np.log(p)\n"
    )
    (package / "densecrf.py").write_text(
        "import time\nimport numpy as np\n"
        "class DenseCRF2D:\n"
        "    def __init__(self, width, height, k): self.shape = (k, height, width)\n"
        "    def setUnaryEnergy(self, unary): self.unary = unary\n"
        "    def addPairwiseGaussian(self, sxy, compat): pass\n"
        "    def addPairwiseBilateral(self, sxy, srgb, compat, rgbim): self.hangs = not rgbim[0, 0].any()\n"
        "    def inference(self, steps):\n"
        "        if self.hangs: time.sleep(600)\n"
        "        return np.exp(-self.unary).reshape(self.shape)\n"
    )
    record = package.parent / "pydensecrf2-0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: pydensecrf2\nVersion: 0\n")
    (record / "top_level.txt").write_text("pydensecrf\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))  # of the workers
    monkeypatch.syspath_prepend(package.parent)
    return package
