"""The example method of CONTRIBUTING.md, as files."""

from __future__ import annotations

import re
from pathlib import Path

NAME = "directions"
PAGE = Path(__file__).parent.parent / "CONTRIBUTING.md"


def example_files() -> dict[str, str]:
    """Names and texts of the files of the method's folder, word for word as the page shows them."""
    found = re.findall(r"^`(\w+\.py)`:\n\n```python\n(.*?)```$", PAGE.read_text(encoding="utf-8"), re.S | re.M)
    assert {"settings.py", "train.py", "predict.py", "infer.py", "published.py"} <= {name for name, _ in found}
    return dict(found)


def write_example(package: Path) -> Path:
    """Write the method into a copy of the package; its folder."""
    folder = package / "methods" / NAME
    folder.mkdir()
    for name, text in example_files().items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
