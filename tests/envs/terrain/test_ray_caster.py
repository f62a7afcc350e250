"""Distances along rays: those of MuJoCo's rays on the same ground, in every direction and at its edges."""

from __future__ import annotations

import math

import mujoco
import numpy as np
import pytest
import torch

from regimen.envs.terrain.height_field import HeightField
from regimen.envs.terrain.ray_caster import RayCaster
from regimen.envs.terrain.ray_pattern import PinholePattern, RayList


def ground(kind: str, points: tuple[int, int] = (61, 47)) -> HeightField:
    generator = torch.Generator().manual_seed(3)
    heights = torch.rand(points, generator=generator) * 0.3
    if kind == "stairs":
        heights = (torch.arange(points[0])[:, None] // 5 * 0.12).expand(points).contiguous()
    if kind == "stones":
        heights = torch.where(torch.rand(points, generator=generator) < 0.3, -0.5, 0.1)
    return HeightField(heights, 0.1, (-2.5, 1.0))


def reference(field: HeightField, origins: torch.Tensor, directions: torch.Tensor, far: float) -> torch.Tensor:
    """Distances of MuJoCo's rays, (N, R)."""
    heights = field.heights.numpy()
    low, high = float(heights.min()), float(heights.max())
    half = [(end - start) / 2 for start, end in zip(field.start, field.end, strict=True)]
    spec = mujoco.MjSpec()
    rows = heights.T
    spec.add_hfield(
        name="g", nrow=rows.shape[0], ncol=rows.shape[1], size=[*half, high - low, 1], userdata=rows.ravel()
    )
    place = [field.start[0] + half[0], field.start[1] + half[1], low]
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_HFIELD, hfieldname="g", pos=place)
    model = spec.compile()
    data, geom = mujoco.MjData(model), np.zeros(1, np.int32)
    mujoco.mj_forward(model, data)
    distances = torch.full(directions.shape[:2], far)
    for n, origin in enumerate(origins.double().numpy()):
        for r, direction in enumerate(directions[n].double().numpy()):
            found = mujoco.mj_ray(model, data, origin, direction, None, 1, -1, geom)
            if 0.0 <= found < far:
                distances[n, r] = found
    return distances


def sample(field: HeightField, count: int, rays: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Places above the ground, and directions to all sides, mostly downwards."""
    generator = torch.Generator().manual_seed(4)
    start, end = torch.tensor(field.start), torch.tensor(field.end)
    places = start + torch.rand(count, 2, generator=generator) * (end - start)
    heights = field.at(places) + 0.05 + torch.rand(count, generator=generator)
    directions = torch.randn(count, rays, 3, generator=generator)
    directions[..., 2] = 0.3 * directions[..., 2] - 0.3
    return torch.cat((places, heights[:, None]), dim=1), torch.nn.functional.normalize(directions, dim=-1)


@pytest.mark.parametrize("kind", ["rough", "stairs", "stones"])
def test_distances_are_those_of_mujoco(kind: str) -> None:
    field, far = ground(kind), 2.5
    origins, directions = sample(field, 25, 40)
    ours, expected = RayCaster(field, far).cast(origins, directions), reference(field, origins, directions, far)
    inside = ours < far
    assert 0.3 < inside.float().mean() < 1.0
    # Rays that leave the ground meet the side of MuJoCo's solid; ours ends at the edge.
    ends = origins[:, None] + expected[..., None] * directions
    on_ground = (field.at(ends) - ends[..., 2]).abs() < 1e-3
    wrong = ((ours - expected).abs() > 1e-4) & (on_ground | inside)
    assert wrong.float().mean() <= 0.001, "rays along an edge of two triangles"


def test_straight_down_the_distance_is_the_height_above_the_ground() -> None:
    field = ground("rough")
    origins, _ = sample(field, 200, 1)
    down = torch.tensor([[[0.0, 0.0, -1.0]]]).expand(200, 1, 3)
    above = origins[:, 2] - field.at(origins)
    assert torch.allclose(RayCaster(field, 5.0).cast(origins, down)[:, 0], above, atol=1e-5)
    assert torch.equal(RayCaster(field, 0.01).cast(origins, down)[:, 0], above.clamp_max(0.01)), "cut off"
    up = RayCaster(field, 5.0).cast(origins, -down)
    assert torch.equal(up, torch.full_like(up, 5.0))
    under = origins - torch.tensor([0.0, 0.0, 3.0])
    assert RayCaster(field, 5.0).cast(under, down).abs().max() < 1e-4


@pytest.mark.parametrize("tilt", [1e-2, 1e-4, 1e-6, 1e-8])
def test_rays_that_are_almost_vertical_end(tilt: float) -> None:
    field = ground("stones")
    origins, _ = sample(field, 300, 1)
    origins[:150, :2] = (origins[:150, :2] / field.cell).round() * field.cell  # on points of the field
    origins[:, 2] = 1.0
    edges = (origins[:, :2] - torch.tensor(field.start)).abs().amin(1), (origins[:, :2] - torch.tensor(field.end)).abs()
    origins = origins[(edges[0] > 0.05) & (edges[1].amin(1) > 0.05)]
    directions = torch.nn.functional.normalize(torch.tensor([[[tilt, -tilt, -1.0]]]), dim=-1).expand(len(origins), 1, 3)
    distances = RayCaster(field, 3.0).cast(origins, directions)
    ends = origins[:, None] + distances[..., None] * directions
    assert (field.at(ends) - ends[..., 2]).abs().max() < 2e-3 and distances.max() < 3.0


def test_beyond_the_edge_there_is_no_ground() -> None:
    field = ground("stairs")
    (x, y), (_, far_y) = field.start, field.end
    origins = torch.tensor([[x - 0.5, y + 1.0, 1.0], [x + 1.0, far_y + 0.3, 1.0], [x + 0.2, y + 0.2, 0.5]])
    down, out = torch.tensor([0.0, 0.0, -1.0]), torch.tensor([-0.8, -0.6, 0.0])
    directions = torch.stack((down, out)).expand(3, 2, 3)
    distances = RayCaster(field, 4.0).cast(origins, directions)
    assert distances[:2].eq(4.0).all() and distances[2, 1] == 4.0 and float(distances[2, 0]) == pytest.approx(0.5)


def test_flat_ground_without_a_field() -> None:
    origins = torch.tensor([[7.0, -3.0, 0.5], [0.0, 0.0, -0.1]])
    directions = torch.tensor([[[0.6, 0.0, -0.8], [1.0, 0.0, 0.0], [0.0, 0.6, 0.8]]]).expand(2, 3, 3)
    distances = RayCaster(None, 2.0).cast(origins, directions)
    assert distances[0].tolist() == [pytest.approx(0.625), 2.0, 2.0]
    assert float(distances[1, 0]) == 0.0


def test_a_pinhole_camera_sees_its_field_of_view_from_the_upper_left() -> None:
    camera = PinholePattern(width=5, height=3, fov=90.0, pitch=30.0)
    rays = np.array(camera.directions()).reshape(3, 5, 3)
    assert np.allclose(np.linalg.norm(rays, axis=-1), 1.0)
    assert np.allclose(rays[1, 2], camera.axis) and camera.axis[2] == pytest.approx(-0.5)
    angle = math.degrees(math.acos(float(rays[1, 0] @ rays[1, 4])))
    assert angle == pytest.approx(2 * math.degrees(math.atan(0.8))), "between the middles of the outer pixels"
    assert (rays[:, 0, 1] > 0).all() and (rays[0, :, 2] > rays[2, :, 2]).all()
    flipped = rays.reshape(-1, 3)[camera.mirrored()] * [1.0, -1.0, 1.0]
    assert np.allclose(flipped, rays.reshape(-1, 3))


def test_rays_have_a_mirror_image_where_each_has_one() -> None:
    both = RayList([[1, 0.5, -1], [2, 0, 0], [1, -0.5, -1]])
    assert both.mirrored() == [2, 1, 0]
    assert RayList([[1, 0.5, -1]]).mirrored() is None and RayList(both.rays, offset=(0, 0.1, 0)).mirrored() is None
