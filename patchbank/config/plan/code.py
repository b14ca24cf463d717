"""What the code of a stage is: Snakemake does not see changes of library code, so every rule has it in its params."""

from __future__ import annotations

from pathlib import Path

from patchbank.fingerprint import code_fingerprint, imports_of, tree_hash

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
    """

    def __init__(self, scripts: str | Path) -> None:
        self.scripts = Path(scripts)

    def of(self, script: str, *modules: str) -> str:
        """Hash of the code of a stage: its script, and the package's modules that it uses.

        Args:
            script: name of the script, without its ending.
            modules: dotted names of what it finds by a name; what they import in the package belongs to them.
        """
        file = self.scripts / f"{script}.py"
        return f"{tree_hash(file)[:16]}-{code_fingerprint(*self.modules(script, *modules))}"

    def modules(self, script: str, *modules: str) -> list[str]:
        """The modules of a stage: what its script imports, but for what hands over, and what it finds by a name."""
        return sorted({*imports_of(self.scripts / f"{script}.py"), *modules} - HANDING_OVER)
