"""The wheel also holds the run files of ``models/``: ``meshops train models/mspt/ahmed.yaml`` works from it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithRecipes(build_py):
    """Run files of the published systems go to ``meshops/recipes/<system>/``."""

    def run(self) -> None:
        """Copy them after the modules."""
        super().run()
        if getattr(self, "editable_mode", False):
            return  # they are found where they are
        for path in sorted(Path("models").glob("*/*.yaml")):
            target = Path(self.build_lib) / "meshops" / "recipes" / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


setup(cmdclass={"build_py": WithRecipes})
