"""N copies of a compiled MuJoCo model in MuJoCo Warp: one `Model` and one `Data` on a device, changed in place.

Their arrays are read and written as torch tensors that share the memory. Each operation on all copies is recorded as a
graph when it runs the second time, and replayed from then on: one call in place of some fifty kernel launches. torch's
default stream and Warp's are blocking streams of CUDA, so work of one begins when that of the other has ended.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import mujoco
import mujoco_warp
import torch
import warp as wp

DERIVED = (
    *("body_subtreemass", "geom_aabb", "geom_rbound", "dof_invweight0", "body_invweight0", "actuator_acc0"),
    *("tendon_length0", "tendon_invweight0", "eq_data"),
)
"""Constants that are derived from other fields of the model."""

LARGEST = float(mujoco.mjMAXVAL)
"""Largest absolute position, velocity and acceleration that MuJoCo takes for a number."""

OVERFLOWS = {
    "njmax": int(mujoco_warp.OverflowType.NEFC | mujoco_warp.OverflowType.NJMAX_NNZ),
    "nconmax": int(mujoco_warp.OverflowType.BROADPHASE | mujoco_warp.OverflowType.NARROWPHASE),
}
"""Setting -> marks of a copy that found no room and would with a larger one."""


@wp.kernel
def _reset_diverged(
    start: wp.array2d[float],
    qpos: wp.array2d[float],
    qvel: wp.array2d[float],
    qacc: wp.array2d[float],
    warmstart: wp.array2d[float],
    ctrl: wp.array2d[float],
    force: wp.array2d[float],
    sensors: wp.array2d[float],
    wrench: wp.array2d[wp.spatial_vector],
    time: wp.array[float],
    largest: float,
    diverged: wp.array[bool],
) -> None:
    """Put a copy with a bad number into the start of the model, at rest, as MuJoCo's `mj_resetData` does."""
    world = wp.tid()
    bad = wp.bool(False)
    for i in range(qpos.shape[1]):
        bad = bad or not (wp.abs(qpos[world, i]) <= largest)  # false for NaN
    for i in range(qvel.shape[1]):
        bad = bad or not (wp.abs(qvel[world, i]) <= largest) or not (wp.abs(qacc[world, i]) <= largest)
    if bad:
        diverged[world] = True
        time[world] = 0.0
        for i in range(qpos.shape[1]):
            qpos[world, i] = start[world % start.shape[0], i]
        for i in range(qvel.shape[1]):
            qvel[world, i] = 0.0
            qacc[world, i] = 0.0
            warmstart[world, i] = 0.0
        for i in range(ctrl.shape[1]):
            ctrl[world, i] = 0.0
        for i in range(force.shape[1]):
            force[world, i] = 0.0
        for i in range(sensors.shape[1]):
            sensors[world, i] = 0.0
        for i in range(wrench.shape[1]):
            wrench[world, i] = wp.spatial_vector()


class WarpBatch:
    """N copies of a model. The tensors are views: what is written into them acts in the next step.

    Attributes:
        num_envs: N.
        device: torch device of all tensors.
        qpos: (N, nq) m, quaternion w x y z, rad.
        qvel: (N, nv).
        ctrl: (N, nu).
        time: (N,) s.
        warmstart: (N, nv) accelerations with which the solver begins.
        wrench: (N, bodies, 6) external force and torque, world frame.
        qacc: (N, nv), of the last step.
        force: (N, nu) of the actuators, of the last step.
        sensors: (N, nsensordata), of the last step.
    """

    def __init__(self, model: mujoco.MjModel, num_envs: int, device: str, contacts: int, rows: int) -> None:
        """Put the model and N copies of its state on a device.

        Args:
            model: compiled.
            num_envs: N.
            device: `cpu`, `cuda` or `cuda:<number>`.
            contacts: per copy that have room, on average over all copies.
            rows: of constraints that have room for each copy.
        """
        self.num_envs = num_envs
        self.device = torch.device(device)
        if self.device.type == "cuda" and self.device.index is None:  # several processes have a GPU each
            self.device = torch.device("cuda", torch.cuda.current_device())
        self._place = wp.get_device(str(self.device))
        with wp.ScopedDevice(self._place):
            self._model = mujoco_warp.put_model(model)
            self._model.opt.warn_overflow = 0  # `overflow` reports it
            self._model.opt.graph_conditional = self._place.is_cpu or wp.is_conditional_graph_supported()
            self._data = mujoco_warp.make_data(model, nworld=num_envs, nconmax=contacts, njmax=rows)
            self._diverged = wp.zeros(num_envs, dtype=bool)
        data = self._data
        self.qpos, self.qvel, self.ctrl = wp.to_torch(data.qpos), wp.to_torch(data.qvel), wp.to_torch(data.ctrl)
        self.time, self.warmstart = wp.to_torch(data.time), wp.to_torch(data.qacc_warmstart)
        self.wrench, self.qacc = wp.to_torch(data.xfrc_applied), wp.to_torch(data.qacc)
        self.force, self.sensors = wp.to_torch(data.actuator_force), wp.to_torch(data.sensordata)
        self._overflow = wp.to_torch(data.overflow)
        self._diverged_rows = wp.to_torch(self._diverged)
        self._loaded: set[Hashable] = set()
        self._graphs: dict[Hashable, wp.Graph] = {}
        self._expanded: dict[str, torch.Tensor] = {}
        self._derive()  # in float32 for all copies, because those that are changed later get theirs in float32 as well

    def step(self, substeps: int) -> torch.Tensor:
        """Advance all copies; return (N,) bool, true where a number was bad and the copy was reset."""
        self._diverged_rows.zero_()
        for _ in range(substeps):
            self._run("step", self._step)
        return self._diverged_rows.clone()

    def _step(self) -> None:
        self._check()  # what was written into the state
        mujoco_warp.step(self._model, self._data)
        self._check()

    def _check(self) -> None:
        data = self._data
        state = [data.qpos, data.qvel, data.qacc, data.qacc_warmstart, data.ctrl]
        outputs = [data.actuator_force, data.sensordata, data.xfrc_applied, data.time]
        inputs = [self._model.qpos0, *state, *outputs, LARGEST, self._diverged]
        wp.launch(_reset_diverged, dim=self.num_envs, inputs=inputs)

    def forward(self, env_ids: torch.Tensor) -> None:
        """Compute sensors, accelerations and forces of the copies `env_ids` (n,) from their state.

        All copies are computed; those of the others keep what their last step computed.
        """
        outputs = (self.sensors, self.qacc, self.force)
        kept = [values.clone() for values in outputs]
        self._run("forward", partial(mujoco_warp.forward, self._model, self._data))
        others = torch.ones(self.num_envs, 1, dtype=torch.bool, device=self.device)
        others[env_ids] = False
        for values, before in zip(outputs, kept, strict=True):
            values.copy_(torch.where(others, before, values))

    def expand(self, name: str) -> torch.Tensor:
        """Return a field of the model (N, …), first given a row per copy; writing into it acts in the next step."""
        if name not in self._expanded:
            owner, attribute = self._owner(name)
            shared = getattr(owner, attribute)
            with wp.ScopedDevice(self._place):
                rows = wp.empty((self.num_envs, *shared.shape[1:]), dtype=shared.dtype)
            wp.to_torch(rows)[:] = wp.to_torch(shared)
            setattr(owner, attribute, rows)
            self._graphs.clear()  # they read the array that was shared
            self._expanded[name] = wp.to_torch(rows)
        return self._expanded[name]

    def expanded(self, name: str) -> torch.Tensor | None:
        """Return a field of the model (N, …) that has a row per copy, None for one that all copies share."""
        return self._expanded.get(name)

    def derive(self, changed: torch.Tensor) -> None:
        """Compute the constants of all copies: those of unchanged ones come out as they were."""
        for name in DERIVED:
            owner, attribute = self._owner(name)
            if getattr(owner, attribute).size:
                self.expand(name)
        self._derive()

    def _derive(self) -> None:
        groups = mujoco_warp.SetConstGroup.FIXED | mujoco_warp.SetConstGroup.INERT0
        if self._model.neq or self._model.ntendon:
            groups |= mujoco_warp.SetConstGroup.KIN0
        self._run("derive", partial(mujoco_warp.set_const, self._model, self._data, groups))

    def _owner(self, name: str) -> tuple[Any, str]:
        """Return what has a field, and its name there."""
        option = name.removeprefix("opt.")
        return (self._model if option == name else self._model.opt), option

    def overflow(self) -> dict[str, int]:
        """Return setting -> number of copies that found no room for contacts or constraints since the last call."""
        marks = self._overflow.clone()
        self._overflow.zero_()
        counts = {name: int(((marks & mask) > 0).sum()) for name, mask in OVERFLOWS.items()}
        return {name: count for name, count in counts.items() if count}

    def _run(self, key: Hashable, operation: Callable[[], None]) -> None:
        """Run an operation: as it is when its kernels are to be loaded, then from its graph."""
        with wp.ScopedDevice(self._place):
            if key not in self._loaded:
                operation()
                self._loaded.add(key)
                return
            if key not in self._graphs:
                with wp.ScopedCapture(force_module_load=False) as capture:
                    operation()
                self._graphs[key] = capture.graph
            wp.capture_launch(self._graphs[key])
