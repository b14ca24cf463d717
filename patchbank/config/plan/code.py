"""What the code of a stage is: Snakemake does not see changes of library code, so every rule has it in its params."""

from __future__ import annotations

from pathlib import Path

from patchbank.fingerprint import code_fingerprint, tree_hash


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
            modules: dotted names; what they import in the package belongs to them.
        """
        return f"{tree_hash(self.scripts / f'{script}.py')[:16]}-{code_fingerprint(*modules)}"
