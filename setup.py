"""Put `conf/` and `pretrained/` into the package when a wheel is built; all else of the build is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DATA_FOLDERS = ("conf", "pretrained")


class BuildWithData(build_py):
    """Build the modules, then copy the folders of data, which an editable install reads from the checkout."""

    def run(self) -> None:
        """Build."""
        super().run()
        if self.editable_mode:
            return
        for name in DATA_FOLDERS:
            target = Path(self.build_lib, "regimen", name)
            shutil.rmtree(target, ignore_errors=True)  # a file that was removed since the last build stays out
            shutil.copytree(name, target)


setup(cmdclass={"build_py": BuildWithData})
