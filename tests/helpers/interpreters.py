"""Python interpreters other than that of the tests, with packages of their own."""

from __future__ import annotations

import sysconfig
import venv
from pathlib import Path


def other_python(folder: Path, shared: bool = False, **packages: str) -> Path:
    """An interpreter that has the metadata of some packages, and with `shared` what the present one has.

    Called again for the same folder, it replaces the versions.
    """
    home = folder / "other-python"
    if not home.exists():
        venv.create(home, symlinks=True)
    [site] = home.glob("lib/python3*/site-packages")
    if shared:
        (site / "shared.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    for name, version in packages.items():
        info = site / f"{name}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return home / "bin/python"
