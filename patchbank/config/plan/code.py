"""What the code of a stage is: Snakemake does not see changes of library code, so every rule has it in its params."""

from __future__ import annotations

from pathlib import Path

from patchbank.fingerprint import imports_of, stage_code
from patchbank.planned_code import leave

HANDING_OVER = {
    "patchbank.datasets.manifest",  # reads what the rule of the manifest wrote; it reaches all that finds files
    "patchbank.methods.contract",  # finds a method's own module
    "patchbank.scripting",  # the frame of every script: log, errors, signals
}
"""Modules that scripts import and that move no result."""


class Code:
    """Fingerprints of stages.

    Args:
        scripts: folder of the scripts of the rules.
        left: folder where jobs read what their code was when the run was planned (`patchbank.planned_code`); None for
            nowhere.
    """

    def __init__(self, scripts: str | Path, left: Path | None = None) -> None:
        self.scripts, self._left = Path(scripts), left

    def of(self, script: str, *modules: str) -> str:
        """Hash of the code of a stage: its script, and the package's modules that it uses.

        Args:
            script: name of the script, without its ending.
            modules: dotted names of what it finds by a name; what they import in the package belongs to them.
        """
        file, used = self.scripts / f"{script}.py", self.modules(script, *modules)
        code = stage_code(file, used)
        if self._left is not None:
            leave(self._left, code, file, used)
        return code

    def modules(self, script: str, *modules: str) -> list[str]:
        """The modules of a stage: what its script imports, but for what hands over, and what it finds by a name."""
        return sorted({*imports_of(self.scripts / f"{script}.py"), *modules} - HANDING_OVER)
