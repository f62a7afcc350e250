"""Primitives fitted to points: the shape that the points came from, and nothing outside of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from regimen.envs.robots.importing.primitives import Primitive, hull_volume, smallest

FRAMES = [np.eye(3)]


def surface(primitive: Primitive, count: int = 400) -> np.ndarray:
    """Return points of the surface of a primitive of which the core is spheres of a radius."""
    core, radius = primitive.core()
    directions = np.random.default_rng(0).normal(size=(count, 3))
    directions = np.concatenate([directions / np.linalg.norm(directions, axis=1)[:, None], np.eye(3), -np.eye(3)])
    return (core[:, None] + radius * directions).reshape(-1, 3)


@pytest.mark.parametrize(
    ("kind", "size"),
    [("sphere", (0.1,)), ("capsule", (0.05, 0.2)), ("cylinder", (0.1, 0.04)), ("box", (0.1, 0.2, 0.03))],
)
def test_a_shape_is_found_again(kind: str, size: tuple[float, ...]) -> None:
    frame = Rotation.from_euler("xyz", [0.3, -0.7, 1.1]).as_matrix()
    shape = Primitive(kind, size, np.array([0.1, -0.2, 0.3]), frame)
    points = surface(shape) if kind in ("sphere", "capsule") else shape.core()[0]
    found = smallest(points, [np.eye(3), frame])
    assert found.kind == kind
    assert sorted(found.size) == pytest.approx(sorted(size), rel=2e-2)
    assert found.centre == pytest.approx(shape.centre, abs=2e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_every_kind_contains_all_points(seed: int) -> None:
    random = np.random.default_rng(seed)
    points = random.normal(size=(20, 3)) * random.uniform(0.01, 1, size=3)
    for kind in ("sphere", "capsule", "cylinder", "box"):
        found = smallest(points, FRAMES, kinds=(kind,))
        local = (points - found.centre) @ found.axes
        r, *more = found.size
        if kind == "box":
            assert (np.abs(local) <= np.array(found.size) + 1e-9).all()
            continue
        along = np.maximum(np.abs(local[:, 2]) - (more[0] if kind == "capsule" else 0.0), 0.0)
        if kind == "cylinder":
            assert (np.abs(local[:, 2]) <= more[0] + 1e-9).all()
            along = np.zeros(len(local))
        assert (np.hypot(np.linalg.norm(local[:, :2], axis=1), along) <= r + 1e-9).all()
        assert found.volume >= hull_volume(points)


def test_points_in_a_plane_have_no_volume() -> None:
    assert hull_volume(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]])) == 0.0
