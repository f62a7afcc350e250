"""The file of an import as an `MjSpec`: MJCF as it is, URDF with the paths of its packages resolved."""

from __future__ import annotations

import contextlib
import warnings
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.envs.robots.importing.settings import ImportSettings
from regimen.envs.robots.mjcf_file import file_problems
from regimen.system.errors import ConfigError, did_you_mean, raise_if_any

if TYPE_CHECKING:
    import mujoco

MESHES = (".stl", ".obj", ".msh")
"""Kinds of meshes that MuJoCo reads."""

PACKAGE = "package://"


@dataclass
class Source:
    """The file as it was read.

    Attributes:
        path: the file.
        kind: `MJCF` or `URDF`.
        spec: its content.
        speeds: joint -> rated speed in rad/s, which only a URDF has.
        keyframes: name in lower case -> joint -> position in rad.
        notes: one line for each thing that was changed or left away, for the report.
    """

    path: Path
    kind: str
    spec: mujoco.MjSpec
    speeds: dict[str, float] = field(default_factory=dict)
    keyframes: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def open_source(settings: ImportSettings) -> Source:
    """Read the file of an import.

    Raises:
        ConfigError: there is no such file, it is neither MJCF nor URDF, or it names meshes that are not there.
    """
    path = settings.file
    root = _root(path)
    if root.tag == "robot":
        return _open_urdf(path, root, settings)
    if problems := file_problems(path):
        raise ConfigError("\n".join(line.removeprefix("mjcf: ") for line in problems))
    import mujoco

    try:
        return Source(path, "MJCF", mujoco.MjSpec.from_file(str(path)))
    except (ValueError, mujoco.FatalError) as error:
        raise ConfigError(f"MuJoCo does not read {path}: {' '.join(str(error).split())}") from error


def compile_source(source: Source) -> mujoco.MjModel:
    """Return the compiled model.

    Inertias that break the triangle inequality, as CAD exporters write them, are balanced and noted.

    Raises:
        ConfigError: MuJoCo does not compile the file; all missing meshes are named.
    """
    import mujoco

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = source.spec.compile()
        source.keyframes = source.keyframes or _keyframes(model)
        source.notes += dict.fromkeys(f"MuJoCo: {' '.join(str(warning.message).split())}" for warning in caught)
        return model
    except (ValueError, mujoco.FatalError) as error:
        text = " ".join(str(error).split())
    if "balanceinertia" in text:
        source.spec.compiler.balanceinertia = True
        source.notes.append(f"inertias that break A + B ≥ C are balanced ({text.partition('Element')[2].strip()} …)")
        return compile_source(source)
    raise_if_any(_missing_meshes(source))
    hint = ""
    if "mass and inertia" in text:
        hint = " Give each link that moves an <inertial>, or weld it by --drop <joint>."
    raise ConfigError(f"MuJoCo does not compile {source.path}: {text}.{hint}")


def take_keyframes(source: Source) -> None:
    """Read the keyframes of a file from which joints are going to be removed: afterwards they fit no longer."""
    import mujoco

    if not source.spec.keys:
        return
    with contextlib.suppress(ValueError, mujoco.FatalError):  # the reason is reported when the rest is compiled
        source.keyframes = _keyframes(source.spec.compile())
    for key in list(source.spec.keys):
        source.spec.delete(key)


def joint_name(model: mujoco.MjModel, joint: int) -> str:
    """Return the name of a joint, made from that of its body where the file has none."""
    return model.joint(joint).name or f"{body_name(model, int(model.jnt_bodyid[joint]))}_joint"


def body_name(model: mujoco.MjModel, body: int) -> str:
    """Return the name of a body, made from its number where the file has none."""
    return model.body(body).name or f"body_{body}"


def _keyframes(model: mujoco.MjModel) -> dict[str, dict[str, float]]:
    joints = {joint_name(model, j): int(model.jnt_qposadr[j]) for j in range(model.njnt)}
    return {
        model.key(k).name.lower(): {name: float(model.key_qpos[k, place]) for name, place in joints.items()}
        for k in range(model.nkey)
    }


def _root(path: Path) -> ElementTree.Element:
    """Return the root element of the file."""
    if not path.exists():
        near = [file.name for file in path.parent.glob("*") if file.suffix in (".xml", ".urdf", ".mjcf")]
        raise ConfigError(f"There is no file {path}. {did_you_mean(path.name, near)}")
    if path.is_dir():
        files = sorted(file.name for file in path.iterdir() if file.suffix in (".xml", ".urdf"))
        raise ConfigError(f"{path} is a folder; expected an MJCF or a URDF. {did_you_mean(path.name, files)}")
    if path.suffix in (".usd", ".usda", ".usdc", ".usdz"):
        raise ConfigError(f"{path} is a USD file; expected an MJCF or a URDF of the same robot.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no valid XML: {error}. Expected an MJCF or a URDF.") from error
    if path.suffix == ".xacro" or any("xacro" in element.tag for element in root.iter()):
        plain = path.name.removesuffix(".xacro").removesuffix(".urdf") + ".urdf"
        raise ConfigError(f"{path} is a xacro, a template of a URDF. Type: xacro {path} > {plain}, and import {plain}.")
    if root.tag not in ("mujoco", "robot"):
        raise ConfigError(f"{path} begins with <{root.tag}>; expected an MJCF (<mujoco>) or a URDF (<robot>).")
    return root


def _open_urdf(path: Path, root: ElementTree.Element, settings: ImportSettings) -> Source:
    """Resolve the meshes of a URDF, and leave away visual ones that are not wanted or that MuJoCo cannot read."""
    import mujoco

    missing: list[str] = []
    dropped: dict[str, list[str]] = {}
    unwanted = not settings.meshes and root.find("link/collision") is not None  # else shapes are fitted to them
    for link in root.findall("link"):
        for part in [*link.findall("collision"), *link.findall("visual")]:
            mesh = part.find("geometry/mesh")
            if mesh is None:
                continue
            if unwanted and part.tag == "visual":
                link.remove(part)
                continue
            name = mesh.get("filename", "")
            found, tried = _resolve(name, path, settings.package_paths)
            readable = Path(name).suffix.lower() in MESHES
            if found is not None and readable:
                mesh.set("filename", str(found))
            elif part.tag == "visual":
                link.remove(part)
                why = "a kind that MuJoCo does not read" if found is not None else "not found"
                dropped.setdefault(why, []).append(Path(name).name)
            elif found is None:
                missing.append(f"link {link.get('name')}: mesh `{name}` is at none of {', '.join(map(str, tried))}")
            else:
                missing.append(
                    f"link {link.get('name')}: MuJoCo does not read the mesh `{name}`; expected one of "
                    f"{', '.join(MESHES)}: convert it, and change the name in the URDF"
                )
    if any(PACKAGE in line for line in missing):
        missing[-1] += ". Name the folder that holds the package: --package-path <folder>"
    raise_if_any(missing)
    notes = [
        f"{len(names)} visual meshes left away, {why}: {', '.join(dict.fromkeys(names))}"
        for why, names in dropped.items()
    ]
    if repaired := [link.get("name", "") for link in root.findall("link") if _repair_inertia(link)]:
        notes.append(f"inertias that are not positive definite, products of inertia set to 0: {', '.join(repaired)}")
    compiler = _child(_child(root, "mujoco"), "compiler")
    compiler.attrib |= {"discardvisual": "false", "fusestatic": "false", "strippath": "false"}
    compiler.attrib.pop("meshdir", None)
    speeds = {
        joint.get("name", ""): _number(limit.get("velocity"))
        for joint in root.findall("joint")
        if (limit := joint.find("limit")) is not None
    }
    try:
        spec = mujoco.MjSpec.from_string(ElementTree.tostring(root, encoding="unicode"))
    except (ValueError, mujoco.FatalError) as error:
        raise ConfigError(f"MuJoCo does not read {path}: {' '.join(str(error).split())}") from error
    colliding = {geom.meshname for geom in spec.geoms if geom.contype or geom.conaffinity}
    for mesh in (mesh for mesh in spec.meshes if mesh.name not in colliding):
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL  # they have no mass, and may be flat
    if massless := _clear_inferred_masses(spec):
        notes.append(f"links without <inertial> have no mass: {', '.join(massless)}")
    return Source(path, "URDF", spec, speeds, notes=notes)


def _clear_inferred_masses(spec: mujoco.MjSpec) -> list[str]:
    """Take the density from shapes of links without <inertial>, and return the names of these links.

    MuJoCo gives a link without <inertial> the mass of its collision shapes at 1000 kg/m³; in a URDF it has none, and
    its mass is often that of another link, fixed to it. With `inertiafromgeom="true"` in the file they are kept.
    """
    import mujoco

    if spec.compiler.inertiafromgeom == mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_TRUE:
        return []
    inferred = [b for b in spec.bodies[1:] if not b.explicitinertial and any(g.density > 0 for g in b.geoms)]
    for geom in (geom for body in inferred for geom in body.geoms):
        geom.density = 0.0
    return [body.name for body in inferred]


def _repair_inertia(link: ElementTree.Element) -> bool:
    """Set the products of inertia of a URDF link to 0 if its tensor is not positive definite; return whether it was."""
    inertia = link.find("inertial/inertia")
    if inertia is None:
        return False
    xx, yy, zz, xy, xz, yz = (_number(inertia.get(f"i{key}")) for key in ("xx", "yy", "zz", "xy", "xz", "yz"))
    tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    if min(xx, yy, zz) <= 0 or np.linalg.eigvalsh(tensor)[0] > 1e-12 * np.trace(tensor):
        return False
    inertia.attrib |= {"ixy": "0", "ixz": "0", "iyz": "0"}
    return True


def _number(text: str | None) -> float:
    """Return an attribute of a URDF as a number, 0 for none; MuJoCo names one that is no number."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _child(parent: ElementTree.Element, tag: str) -> ElementTree.Element:
    found = parent.find(tag)
    return ElementTree.SubElement(parent, tag) if found is None else found


def _resolve(name: str, urdf: Path, packages: tuple[Path, ...]) -> tuple[Path | None, list[Path]]:
    """Return the file that a URDF names, or None, and all places that were looked at.

    `package://<package>/<path>` is looked for in the given folders, then in every folder above the URDF: as
    `<package>/<path>`, or as `<path>` in a folder that is the package.
    """
    if not name.startswith(PACKAGE):
        tried = [urdf.parent / name.removeprefix("file://")]
    else:
        package, _, rest = name.removeprefix(PACKAGE).partition("/")
        folders = [folder.resolve() for folder in packages] + list(urdf.resolve().parents)
        tried = [place for f in folders for place in ((f / rest,) if f.name == package else ()) + (f / package / rest,)]
    found = next((place.resolve() for place in tried if place.is_file()), None)
    return found, tried[:3]


def _missing_meshes(source: Source) -> list[str]:
    """Return a line for each mesh of an MJCF that is not where MuJoCo looks for it."""
    folder = source.path.resolve().parent / source.spec.meshdir
    return [
        f"mesh `{mesh.name or mesh.file}`: there is no file {folder / mesh.file}"
        for mesh in source.spec.meshes
        if mesh.file and not (folder / mesh.file).is_file()
    ]
