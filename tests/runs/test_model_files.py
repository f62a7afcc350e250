"""The files that a model of a robot consists of."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.user_folder import write
from regimen.runs.model_files import model_files


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def found(folder: Path, model: str) -> set[str]:
    return {str(path.resolve().relative_to(folder)) for path in model_files(folder / model)}


@pytest.mark.parametrize("attribute", ["meshdir", "texturedir", "assetdir"])
def test_includes_meshes_textures_and_height_fields(tmp_path: Path, attribute: str) -> None:
    write(
        tmp_path / "arm.xml",
        f'<mujoco><compiler {attribute}="assets"/><include file="parts/scene.xml"/><asset>'
        '<mesh file="wedge.obj"/><texture fileright="side.png" filefront="front.png"/><hfield file="hills.png"/>'
        "</asset></mujoco>",
    )
    write(tmp_path / "parts/scene.xml", '<mujocoinclude><include file="floor.xml"/></mujocoinclude>')
    write(tmp_path / "parts/floor.xml", '<mujocoinclude><asset><mesh file="floor.stl"/></asset></mujocoinclude>')
    for name in ("wedge.obj", "side.png", "front.png", "hills.png", "floor.stl"):
        write(tmp_path / "assets" / name, name)
    everything = files_below(tmp_path)
    write(tmp_path / "assets/other.obj", "of another robot")
    assert found(tmp_path, "arm.xml") == everything


def test_an_attached_model_has_assets_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "arm.xml", '<mujoco><asset><model name="hand" file="hand/hand.xml"/></asset></mujoco>')
    write(tmp_path / "hand/hand.xml", '<mujoco><compiler meshdir="m"/><asset><mesh file="palm.stl"/></asset></mujoco>')
    write(tmp_path / "hand/m/palm.stl", "palm")
    assert found(tmp_path, "arm.xml") == files_below(tmp_path)


def test_meshes_of_a_urdf_are_found_below_its_package(tmp_path: Path) -> None:
    write(tmp_path / "arm.urdf", '<robot><mesh filename="package://arm/meshes/link.stl"/></robot>')
    write(tmp_path / "meshes/link.stl", "link")
    assert found(tmp_path, "arm.urdf") == {"arm.urdf", "meshes/link.stl"}


@pytest.mark.parametrize("text", ["<mujoco>", "no xml", '<mujoco><include file="gone.xml"/></mujoco>'])
def test_a_model_that_is_no_xml_or_names_what_is_gone_is_itself(tmp_path: Path, text: str) -> None:
    write(tmp_path / "arm.xml", text)
    assert found(tmp_path, "arm.xml") == {"arm.xml"}


def test_models_that_include_each_other_end(tmp_path: Path) -> None:
    write(tmp_path / "a.xml", '<mujoco><include file="b.xml"/></mujoco>')
    write(tmp_path / "b.xml", '<mujoco><include file="a.xml"/></mujoco>')
    assert found(tmp_path, "a.xml") == {"a.xml", "b.xml"}
