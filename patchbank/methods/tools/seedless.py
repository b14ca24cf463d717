"""What no seed shapes of a training: made once, and kept for the other seeds in ``<state_root>/<name>-<digest>``.

The digest is of everything that does shape it. The folder stays after a training, until it is deleted by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchbank.files import digest
from patchbank.fingerprint import code_fingerprint


def kept_in(
    root: str | Path, name: str, code: str, origin: Mapping[str, Any], shapes: Mapping[str, Any]
) -> tuple[Path, dict[str, Any]]:
    """Where something is kept, and what shapes it.

    Args:
        root: folder of all states.
        name: what it is, one word.
        code: module that makes it.
        origin: of the training (`patchbank.methods.tools.phases.origin`), which says banks, centring, threads, torch.
        shapes: JSON values: what shapes it besides.

    Returns:
        The folder, which may not be there, and the identity that its name is the digest of, JSON values.
    """
    known = {key: origin[key] for key in ("banks", "centring", "threads", "torch")}
    identity = {**known, "code": code_fingerprint(code), **shapes}
    return Path(root) / f"{name}-{digest(identity, 16)}", identity
