"""The one step of a build that pyproject.toml cannot say: a wheel gets a copy of the workflow's folders.

They stand at the top level of the repository and nowhere else; `patchbank/config/folders.py` says which they are and
how the package finds them. An editable install copies nothing.
"""

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FOLDERS = runpy.run_path(str(Path(__file__).parent / "patchbank" / "config" / "folders.py"))
FILES = [str(path) for path in FOLDERS["project_files"](Path(__file__).parent)]


class BuildWithWorkflow(build_py):
    """Copies the parts of a workflow folder into the package that is built."""

    def run(self) -> None:
        """Build the package, then add the copies."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, "patchbank", FOLDERS["COPY"])
        shutil.rmtree(target, ignore_errors=True)  # an earlier build's may hold files that are gone
        for file in FILES:
            self.mkpath(str((target / file).parent))
            self.copy_file(file, str(target / file), preserve_mode=False)

    def get_source_files(self) -> list[str]:
        """Files that a source distribution needs."""
        return [*super().get_source_files(), *FILES]


setup(cmdclass={"build_py": BuildWithWorkflow})
