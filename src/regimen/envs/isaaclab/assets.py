"""Robots and scenes for Isaac Lab's tasks: a folder of the user's, or own models written as USD at first use."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from regimen.envs.isaaclab.library import ISAAC_LAB

ROOT = "ISAACSIM_ASSET_ROOT"
"""Environment variable that Isaac Lab reads when it is imported."""

NVIDIA = "nvidia"

ISAACLAB, ISAACSIM = "Isaac/IsaacLab", "Isaac/Robots/IsaacSim"
GROUND = f"{ISAACLAB}/Environments/Grid/default_ground_plane_checker_v1/default_ground_plane.usda"

ENVS = Path(__file__).resolve().parents[1]

FOOT_KG = 0.04
"""Mass of a foot that is a body of its own, taken from its calf."""

MODELS = {
    f"{ISAACLAB}/Robots/Unitree/H1/h1_minimal.usd": ENVS / "robots/h1/h1.xml",
    f"{ISAACLAB}/Robots/Unitree/Go2/go2.usd": ENVS / "robots/go2/go2.xml",
    f"{ISAACLAB}/Robots/Classic/Cartpole/cartpole.usd": ENVS / "isaaclab/models/cartpole.xml",
    f"{ISAACSIM}/Ant/ant_instanceable.usd": ENVS / "isaaclab/models/ant.xml",
    f"{ISAACLAB}/Robots/Classic/Humanoid28/humanoid_28.usd": ENVS / "robots/humanoid/humanoid.xml",
}
"""File below the asset root -> model that it is written from."""

PARTS = {"go2": {f"{leg}_foot": FOOT_KG for leg in ("FL", "FR", "RL", "RR")}}
"""Model -> its geoms that Isaac Lab's tasks name as bodies, with their mass."""


def root_of(assets: str | None) -> str | None:
    """Return the asset root: a folder, an address, or None for the one that Isaac Lab has.

    Args:
        assets: `env.assets`.
    """
    if assets == NVIDIA:
        return None
    return assets or os.environ.get(ROOT) or str(own_folder())


def own_folder() -> Path:
    """Return the folder of Regimen's own models, named by their content; it may be empty until `write_own`."""
    return ISAAC_LAB.cache.expanduser() / "assets" / _content()


def problems(assets: str | None, needed: list[str]) -> Iterator[str]:
    """Yield a line if a file that a task needs is not in the folder of assets; an address is not tried.

    Args:
        assets: `env.assets`.
        needed: files below the root.
    """
    root = root_of(assets)
    if root is None or "://" in root:
        return
    own = root == str(own_folder())
    missing = [
        name for name in needed if not (name in MODELS or name == GROUND if own else (Path(root) / name).exists())
    ]
    if not own and not Path(root).is_dir():
        yield f"assets={root}: there is no such folder."
    elif missing:
        where = "Regimen's own models, which are " + ", ".join(p.stem for p in MODELS.values()) if own else root
        yield (
            f"assets={assets}: the task needs {', '.join(missing)}, not among {where}. Name a folder with Isaac Sim's "
            f"assets, env.assets=<folder> or {ROOT}=<folder>, or load them from NVIDIA: env.assets={NVIDIA}."
        )


def prepare(assets: str | None) -> None:
    """Set the environment variable by which Isaac Lab finds its assets; write Regimen's own models if they are used."""
    root = root_of(assets)
    if root is None:
        os.environ.pop(ROOT, None)
        return
    if root == str(own_folder()):
        write_own(Path(root))
    os.environ[ROOT] = root


def write_own(folder: Path) -> None:
    """Write Regimen's models and a ground plane as USD files, unless they are there.

    Processes may do so at once: each writes a folder of its own, and the first to finish gives it the name.
    """
    if folder.is_dir():
        return
    from regimen.envs.isaaclab.usd_writer import write_ground, write_usd

    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    for name, model in MODELS.items():
        write_usd(model, unfinished / name, PARTS.get(model.stem))
    write_ground(unfinished / GROUND)
    with suppress(OSError):  # another process was first
        unfinished.rename(folder)


def _content() -> str:
    """Return a hash of the models and of the writer."""
    found = hashlib.sha256()
    for path in (*MODELS.values(), Path(__file__), Path(__file__).with_name("usd_writer.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]
