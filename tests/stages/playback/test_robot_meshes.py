"""Bodies and shapes of a robot as a page shows them: those of the simulator, whatever the order of its joints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.tasks import make_env
from regimen.stages.playback.robot_meshes import BodyPoses


@pytest.mark.parametrize("task", ["reach", "go2_flat"])
def test_bodies_are_where_the_simulator_has_them(task: str) -> None:
    pytest.importorskip("mujoco")
    import mujoco

    env = make_env(task, 3)
    env.reset(seed=0)
    for _ in range(5):
        env.step(0.3 * torch.ones(3, env.io.num_actions))
    state = {name: value.numpy() for name, value in env.kinematics().items()}
    order = list(range(len(env.joints)))[::-1]
    poses = BodyPoses(env.robot, [env.joints[i] for i in order])
    positions, turns = poses.at(state["root_pos"], state["root_quat"], state["joint_pos"][:, order])
    for i in range(3):
        data = mujoco.MjData(env.world.model)
        data.qpos[:] = env.world.batch.get_data(i).qpos
        mujoco.mj_kinematics(env.world.model, data)
        there = [data.body(name) for name in poses.names]
        assert np.allclose(positions[i], [body.xpos for body in there], atol=1e-5)
        assert np.allclose(np.abs((turns[i] * [body.xquat for body in there]).sum(1)), 1.0, atol=1e-5)
    env.close()


@pytest.mark.parametrize("task", ["reach", "go2_flat", "h1_flat", "k1_walk"])
def test_shapes_are_as_large_as_those_of_the_model(task: str) -> None:
    pytest.importorskip("trimesh")
    env = make_env(task, 1)
    poses = BodyPoses(env.robot, env.joints)
    meshes = poses.meshes()
    assert len({mesh.name for mesh in meshes}) == len(meshes) > 1
    model = poses.model
    shown = [g for g in range(model.ngeom) if poses.model.geom_group[g] < 3 and model.geom_bodyid[g]]
    reach = {name: 0.0 for name in poses.names}
    for geom in shown:
        name = model.body(model.geom_bodyid[geom]).name
        if name in reach:
            reach[name] = max(reach[name], float(np.linalg.norm(model.geom_pos[geom]) + model.geom_rbound[geom]))
    for mesh in meshes:
        farthest = float(np.linalg.norm(mesh.vertices, axis=1).max())
        assert 0.0 < farthest <= reach[poses.names[mesh.body]] + 1e-3, "a bounding sphere holds each shape"
        assert mesh.faces.max() < len(mesh.vertices)
    assert {poses.names[mesh.body] for mesh in meshes} == {name for name, far in reach.items() if far > 0}
    env.close()
