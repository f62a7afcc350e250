"""Assembly on MuJoCo: N copies of one scene in one batch, an impedance controller in the engine, 10 steps a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.envs.assembly import scene
from regimen.envs.assembly.arm import AssemblyArm
from regimen.envs.assembly.config import CAMERAS, STEP_M, STEP_RAD, STEP_S
from regimen.envs.assembly.expert import AssemblyExpert
from regimen.envs.assembly.pictures import Pictures
from regimen.envs.assembly.reading import (
    LOOKING_DOWN,
    PHASES,
    PRIVILEGED,
    PROPRIOCEPTION,
    Reader,
    Reading,
    rotation_matrix,
    rotation_vector,
    to_quaternion,
)
from regimen.envs.finite import diverged
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.assembly.config import AssemblyEnvCfg
    from regimen.envs.vec_env import Obs, StepInfo
    from regimen.runs.checkpoint_header import StateDict
    from regimen.system.errors import DivergedError

ACTIONS = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
SUBSTEPS = 50
SETTLING_SUBSTEPS = 50

LEAD_M, LEAD_RAD = 0.02, 0.12
"""Distance of the target from the measured pose at most, along each axis: it bounds force and torque."""

BOX_LOW, BOX_HIGH = np.array([-0.06, -0.06, 0.018]), np.array([0.06, 0.06, 0.13])
"""Safety box of the target position, in m from the nominal place of the fixture."""

MOST_ROTATION = np.array([0.25, 0.25, 0.6])
"""Of the target, in rad."""

OPENING_STEP_M, MOST_OPENING_M = 0.01, 0.04
"""Of the gripper, as half of the distance between its fingers."""

OPENING_FAILS_M = 0.006
"""Commanded opening at which the hand is about to lose the part; at 2 mm it still holds it firmly."""

NEAR_AXIS_M = 0.003
"""Distance from the axis within which the part is being aligned."""

SEATED_LATERAL_M, SEATED_HEIGHT_M, SEATED_TILT_RAD = 0.001, 0.0015, 0.05
DROPPED_M = 0.0205
"""Distance of the part from its place in the hand at which it is lost."""

HOME = np.array([0.0, 0.3, 0.0, -2.2, 0.0, 2.5, np.pi / 4])
"""Joint angles at which the inverse kinematics begin, in rad."""

ARM = slice(0, 7)
POSE, ROTATION, POSTURE, GRIPPER = slice(0, 3), slice(3, 6), slice(6, 13), 13
"""Controls, in the order of the actuators of panda.xml."""

REACHED = 1e-5
"""Error of the inverse kinematics, in m and rad."""

IK_ROUNDS = 30
DAMPING = 1e-5
GRASP_GAP = 5e-5
"""By which the fingers begin closer than the grasped box is wide, in m: they touch it at once."""

BAD_NUMBERS = slice(3, 7)
"""Rows of MuJoCo's warnings: bad position, velocity, acceleration, control."""


class AssemblyEnv:
    """N robots, each with a part to assemble. See `regimen.envs.vec_env.VecEnv` for the meaning of each method.

    The action (N, 7) within ±1 moves the target pose of the hand and its opening. Reward is 1 in the step in which the
    part is seated, which ends the episode; a dropped part ends it with 0; after `episode_length_s` it is truncated.

    Attributes:
        reading: measured state after the last step.
        age: (N,) steps of the episode so far.
        common_step_counter: steps since the seeded reset.
        phases: names of the values of the label `phase`.
    """

    phases = PHASES

    def __init__(
        self, cfg: AssemblyEnvCfg, seed: int, threads: int = 1, render_size: tuple[int, int] = (640, 480)
    ) -> None:
        """Compile the scene and allocate the batch.

        Args:
            cfg: the task.
            seed: of everything random.
            threads: threads of the physics; results do not depend on it.
            render_size: width and height of the third view of `render`, in px.
        """
        from mujoco.batch import Batch

        self.cfg, self.num_envs, self.device, self.step_dt = cfg, cfg.num_envs, torch.device("cpu"), STEP_S
        self.max_episode_length = round(cfg.episode_length_s / STEP_S)
        self._low_clearance, self._high_clearance = cfg.clearance
        self._low_friction, self._high_friction = cfg.friction
        self.scene = scene.build(cfg.part, cfg.teeth, self._low_clearance, self._low_friction)
        self.batch = Batch(self.scene.model, self.num_envs, max(1, threads))
        self._reader = Reader(self.batch, self.scene, cfg.teeth)
        self._hand = self.scene.model.body("hand").id
        self._qpos, self._ctrl, self._fixture = (self.batch.bind(name) for name in ("qpos", "ctrl", "mocap_pos"))
        self.pictures = Pictures(self.batch, cfg.camera_error, render_size)
        self.io = self._io()
        self.generator = torch.Generator()
        self.common_step_counter = 0
        self._allocate()
        self.reset(seed)

    @classmethod
    def open(cls, config: Config) -> AssemblyEnv:
        """Build the task of a run."""
        size = getattr(config.sim, "render_size", (640, 480))
        return cls(config.env, config.seed, config.hardware.num_threads(), tuple(size))

    def _allocate(self) -> None:
        n = self.num_envs
        self._target, self._target_rotation = np.zeros((n, 3)), np.zeros((n, 3))
        self._opening, self.age = np.zeros(n), np.zeros(n, dtype=np.int64)
        self._clearance, self._friction = np.full(n, self._low_clearance), np.full(n, self._low_friction)

    def _io(self) -> IOSpec:
        groups = {"policy": PROPRIOCEPTION, "privileged": PRIVILEGED}
        sizes = {group: {name: term.size for name, term in terms.items()} for group, terms in groups.items()}
        meaning = {group: {name: term.meaning() for name, term in terms.items()} for group, terms in groups.items()}
        images = self.cfg.images
        pictures = {} if images is None else {name: [*images.shape, 3] for name in images.cameras}
        action = ActionSpec(list(ACTIONS), [1.0] * len(ACTIONS), [0.0] * len(ACTIONS), 1.0)
        return IOSpec(sizes, action, STEP_S, meaning, pictures)

    def reset(self, seed: int | None = None) -> Obs:
        """Begin an episode in all envs, with the generator seeded by `seed` if it is given."""
        if seed is not None:
            self.generator.manual_seed(seed)
            self.common_step_counter = 0
        every = np.arange(self.num_envs)
        if seed is not None and self.cfg.camera_error.drawn == "once":
            self.pictures.move_cameras(every, self._draw(self.num_envs, len(CAMERAS) * 6))
        self._begin(every)
        self.reading = self._reader.read()
        return self._observe()

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Step all envs by actions (N, 7). See `VecEnv.step`.

        Raises:
            DivergedError: MuJoCo met a number that is not finite or too large.
        """
        warnings = self.advance(action.numpy().astype(np.float64).clip(-1.0, 1.0))
        self.age += 1
        self.common_step_counter += 1
        reading = self.reading
        success = reading.seated(SEATED_LATERAL_M, SEATED_HEIGHT_M, SEATED_TILT_RAD)
        dropped = (reading.away > DROPPED_M) & ~success
        terminated = success | dropped
        truncated = (self.age >= self.max_episode_length) & ~terminated
        done = terminated | truncated
        final = obs = self._observe()
        metrics = {"distance": reading.distance, "opening": self._opening, "mujoco_warnings": warnings.sum(1)}
        info: StepInfo = {
            "final_obs": final,
            "log": self._log(done, success, dropped) if done.any() else {},
            "labels": {
                "success": torch.from_numpy(success),
                "dropped": torch.from_numpy(dropped),
                "phase": torch.from_numpy(reading.phase(NEAR_AXIS_M, scene.INSERTION)),
            },
            "metrics": {name: torch.from_numpy(values.astype(np.float32)) for name, values in metrics.items()},
            "ends": {"dropped": torch.from_numpy(dropped)},
        }
        if done.any():
            ids = done.nonzero()[0]
            self._begin(ids)
            self.reading = self._reader.read()
            obs = self._observe(final, ids)
        reward = torch.from_numpy(success.astype(np.float32))
        return obs, reward, torch.from_numpy(terminated), torch.from_numpy(truncated), info

    def advance(self, action: np.ndarray) -> np.ndarray:
        """Move the targets by actions (N, 7) within ±1, advance the physics by one step, and read the state.

        Returns:
            Counts of MuJoCo's warnings in each env, (N, kinds).

        Raises:
            DivergedError: see `step`.
        """
        self._set_targets(action)
        self.batch.warning[:] = 0
        self.batch.step(nstep=SUBSTEPS)
        warnings: np.ndarray = self.batch.warning[..., 1]
        bad = np.flatnonzero(warnings[:, BAD_NUMBERS].any(1))
        if len(bad):
            raise self._diverged(bad.tolist())
        self.reading = self._reader.read()
        return warnings

    @property
    def targets(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Targets of the controller: place (N, 3) in m, rotation (N, 3) in rad, opening (N,) in m; see `Reading`."""
        return self._target, self._target_rotation, self._opening

    def robot_arm(self) -> AssemblyArm:
        """Return the arm of env 0. See `RobotServerTask`."""
        return AssemblyArm(self)

    def _set_targets(self, action: np.ndarray) -> None:
        """Move the targets by actions (N, 7) from where they are, no further from the measured pose than is allowed."""
        measured, turned = self.reading.position, self.reading.rotation
        place = (self._target + STEP_M * action[:, :3]).clip(measured - LEAD_M, measured + LEAD_M)
        rotation = (self._target_rotation + STEP_RAD * action[:, 3:6]).clip(turned - LEAD_RAD, turned + LEAD_RAD)
        self._target, self._target_rotation = (
            place.clip(BOX_LOW, BOX_HIGH),
            rotation.clip(-MOST_ROTATION, MOST_ROTATION),
        )
        self._opening = (self._opening + OPENING_STEP_M * action[:, 6]).clip(0.0, MOST_OPENING_M)
        self._write_controls(slice(None))

    def _write_controls(self, rows: slice | np.ndarray) -> None:
        self._ctrl[rows, POSE] = self._target[rows] @ LOOKING_DOWN  # in the frame of the site `reference`
        self._ctrl[rows, ROTATION] = self._target_rotation[rows]
        self._ctrl[rows, GRIPPER] = self._opening[rows]

    def _observe(self, known: Obs | None = None, ids: np.ndarray | None = None) -> Obs:
        """Return the observations; images are those of `known` but in the envs `ids` (n,), where both are given."""
        reading = self.reading
        obs = reading.observed(self._target, self._target_rotation)
        if self.cfg.images is not None:
            cameras, shape = self.cfg.images.cameras, self.cfg.images.shape
            images = self.pictures.take(cameras, shape, np.arange(self.num_envs) if ids is None else ids)
            for name, fresh in zip(cameras, images, strict=True):
                if known is not None and ids is not None:
                    obs[name] = known[name].clone()
                    obs[name][torch.from_numpy(ids)] = torch.from_numpy(fresh)
                else:
                    obs[name] = torch.from_numpy(fresh)
        return obs

    def _log(self, done: np.ndarray, success: np.ndarray, dropped: np.ndarray) -> dict[str, float]:
        length = self.age[done].mean() * STEP_S
        shares = {"success": success[done].mean(), "dropped": dropped[done].mean(), "episode_length_s": length}
        return {f"Metrics/{name}": float(value) for name, value in shares.items()}

    def _draw(self, count: int, columns: int) -> np.ndarray:
        """Return uniform numbers (count, columns) within ±1."""
        return (torch.rand(count, columns, generator=self.generator, dtype=torch.float64) * 2.0 - 1.0).numpy()

    def _begin(self, ids: np.ndarray) -> None:
        """Begin an episode in the envs `ids` (n,): draw it, put arm and part in place, let them settle."""
        import mujoco

        start, n = self.cfg.start, len(ids)
        drawn = self._draw(n, 13)
        self._randomise(ids, drawn)
        low, high = start.height
        place = drawn[:, 2:5] * [start.xy, start.xy, (high - low) / 2] + [0.0, 0.0, (low + high) / 2]
        rotation = drawn[:, 5:8] * [start.tilt, start.tilt, start.yaw]
        hand = LOOKING_DOWN @ rotation_matrix(rotation)
        self.batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        self._fixture[ids, 0] = scene.NOMINAL_PLACE
        self._fixture[ids, 0, :2] += start.fixture * drawn[:, :2]
        self._solve_arm(ids, scene.NOMINAL_PLACE + place, hand)
        fingers = scene.GRASP_HALF_WIDTH - GRASP_GAP
        self._qpos[ids[:, None], self._reader.fingers] = fingers
        in_hand = np.zeros((n, 3))
        in_hand[:, 0], in_hand[:, 2] = start.slip * drawn[:, 8], self.scene.hold + start.slip * drawn[:, 9]
        part = self._reader.part_qpos
        self._qpos[ids, part : part + 3] = scene.NOMINAL_PLACE + place + (hand @ in_hand[..., None])[..., 0]
        self._qpos[ids, part + 3 : part + 7] = to_quaternion(rotation_vector(hand @ LOOKING_DOWN))
        if self.cfg.teeth:
            self._qpos[ids, self._reader.second_gear] = np.pi / self.cfg.teeth * drawn[:, 10]
        self._target[ids], self._target_rotation[ids] = place, rotation
        self._opening[ids], self.age[ids] = 0.0, 0
        self._ctrl[ids, POSTURE] = self._qpos[ids, ARM]
        self._write_controls(ids)
        self.batch.step(ids=ids, nstep=SETTLING_SUBSTEPS)

    def _randomise(self, ids: np.ndarray, drawn: np.ndarray) -> None:
        """Set clearance, friction and cameras of the envs `ids` (n,) by `drawn` (n, 13), uniform within ±1."""
        for values, low, high, column in (
            (self._clearance, self._low_clearance, self._high_clearance, 11),
            (self._friction, self._low_friction, self._high_friction, 12),
        ):
            values[ids] = low + (high - low) * (drawn[:, column] + 1.0) / 2
        self._apply_contacts(ids)
        if self.cfg.camera_error.drawn == "episode":
            self.pictures.move_cameras(ids, self._draw(len(ids), len(CAMERAS) * 6))

    def _apply_contacts(self, ids: np.ndarray) -> None:
        """Write clearance and friction of the envs `ids` (n,) into their models, where they differ between episodes."""
        bore, touching = self.scene.bore, self.scene.touching
        if self._high_clearance > self._low_clearance:
            places, sizes = self.scene.bore_boxes(self._clearance[ids])
            self.batch.expand("geom_pos")[ids[:, None], bore] = places
            self.batch.expand("geom_size")[ids[:, None], bore] = sizes
        if self._high_friction > self._low_friction:
            self.batch.expand("geom_friction")[ids[:, None], touching, 0] = self._friction[ids, None]

    def _solve_arm(self, ids: np.ndarray, position: np.ndarray, rotation: np.ndarray) -> None:
        """Set the arm's angles of the envs `ids` (n,) so that the tool centre point has a pose: damped least squares.

        Args:
            ids: envs.
            position: (n, 3) in the world, in m.
            rotation: (n, 3, 3) in the world.
        """
        import mujoco

        stage = mujoco.mjtStage.mjSTAGE_POS.value
        self._qpos[ids, ARM] = HOME
        for _ in range(IK_ROUNDS):
            self.batch.forward(ids=ids, stage=stage)
            place, turned = self._reader.tcp(ids)
            error = np.concatenate((position - place, rotation_vector(rotation @ turned.transpose(0, 2, 1))), 1)
            open_ids = np.linalg.norm(error, axis=1) > REACHED
            if not open_ids.any():
                return
            error[~open_ids] = 0.0  # rows that are done do not depend on the others
            jacobian = np.concatenate(self.batch.jac(self._hand, place, ids=ids), 1)[..., ARM]
            back = jacobian.transpose(0, 2, 1)
            square = jacobian @ back + DAMPING * np.eye(6)
            self._qpos[ids, ARM] += (back @ np.linalg.solve(square, error[..., None]))[..., 0]

    def scripted_expert(self, noise: float, seed: int) -> AssemblyExpert:
        """Return the scripted expert. See `DemonstratedTask`."""
        return AssemblyExpert(lambda: self.reading, self.num_envs, self.cfg.teeth, noise, seed)

    def distance_to_goal(self) -> torch.Tensor:
        """Return the distance (N,) of the part from its seat in m, with 2 cm for each rad of tilt."""
        tilt = np.linalg.norm(self.reading.part_tilt, axis=1)
        return torch.tensor(self.reading.distance + 0.02 * tilt, dtype=torch.float32)

    def failing(self) -> torch.Tensor:
        """Return whether the hand is about to lose the part, (N,) bool: it is commanded to open."""
        return torch.from_numpy(self._opening > OPENING_FAILS_M)

    def kinematics(self) -> dict[str, torch.Tensor]:
        """Return what a NaN dump keeps, name -> (N, ...)."""
        state = {"qpos": self._qpos, "target": self._target, "target_rotation": self._target_rotation}
        return {name: torch.from_numpy(values.copy()) for name, values in state.items()}

    def require_finite_state(self) -> None:
        """Raise if the positions or velocities of the simulator are not finite.

        Raises:
            DivergedError: naming the envs.
        """
        bad = ~(np.isfinite(self._qpos).all(1) & np.isfinite(self.batch.bind("qvel")).all(1))
        if bad.any():
            raise self._diverged(bad.nonzero()[0].tolist())

    def _diverged(self, env_ids: list[int]) -> DivergedError:
        error = diverged("The state of the simulator", env_ids, self.num_envs, self.common_step_counter)
        error.of_state = True
        return error

    def stagger(self) -> None:
        """Set the envs to random times of their episodes."""
        draw = torch.randint(self.max_episode_length, (self.num_envs,), generator=self.generator)
        self.age = draw.numpy().copy()

    def fix_command(self, name: str, values: torch.Tensor) -> None:
        """Refuse: there is no command.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"An assembly task has no command `{name}`. Set env.evaluation.command=null.")

    def fix_event(self, name: str, **values: torch.Tensor) -> None:
        """Refuse: draws are set by ranges.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"An assembly task has no event `{name}`: set env.clearance, env.friction or env.start.")

    def state_dict(self) -> StateDict:
        """Return physics, targets, counters, draws, the reading and the generator."""
        own = {name: torch.from_numpy(getattr(self, f"_{name}").copy()) for name in STORED}
        return own | {
            "rows": torch.from_numpy(self.batch.state.copy()),
            "age": torch.from_numpy(self.age.copy()),
            "common_step_counter": self.common_step_counter,
            "reading": self.reading.state_dict(),
            "cameras": self.pictures.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        for name in STORED:
            setattr(self, f"_{name}", state[name].numpy().copy())
        self.age = state["age"].numpy().copy()
        self.common_step_counter = state["common_step_counter"]
        self.batch.state[:] = state["rows"].numpy()
        self._apply_contacts(np.arange(self.num_envs))
        self.reading = Reading.from_state(state["reading"])
        self.pictures.load_state_dict(state["cameras"])
        self.generator.set_state(state["generator"])

    def render(self) -> np.ndarray:
        """Return a view of env 0 from the side, the pictures of both wrist cameras beside it, (H, W, 3) uint8."""
        return self.pictures.film_frame()

    def close(self) -> None:
        """Free the renderers; the batch is freed with the object."""
        self.pictures.close()


STORED: Sequence[str] = ("target", "target_rotation", "opening", "clearance", "friction")
"""Arrays of `AssemblyEnv.state_dict`, attributes with a leading underscore."""
