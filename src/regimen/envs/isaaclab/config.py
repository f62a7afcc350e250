"""Configuration of `task=isaaclab`, checked before the simulator starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from regimen.config.task_schema import EvaluationCfg
from regimen.config.yaml_io import PlainConfig, PlainSection
from regimen.envs.foreign.catalogue import Catalogue, TaskDescription
from regimen.envs.foreign.config import LibraryTaskCfg, evaluation_problems
from regimen.envs.foreign.library import Library
from regimen.envs.isaaclab.library import ISAAC_LAB
from regimen.system.errors import did_you_mean

PHYSICS = {"newton_mjwarp": "newton", "ovphysx": "ovphysx", "isaacsim_physx": "isaacsim"}
"""Simulators of a task -> the distribution that each needs."""

CLASSES = {"PhysxCfg": "isaacsim_physx", "OvPhysxCfg": "ovphysx"}
"""Class of `sim.physics` in a task's configuration -> its simulator, of those that `make isaaclab` does not install."""


@dataclass
class IsaacLabEnvCfg(LibraryTaskCfg):
    """A task registered with Isaac Lab.

    Attributes:
        id: its name, such as Isaac-Velocity-Flat-H1; `module:Id` imports your module first.
        presets: names of Isaac Lab's presets, such as newton_mjwarp; the task's defaults where there is none.
        physics: simulator that takes the place of the task's own, one of `PHYSICS`, with default settings; a preset of
            the same name is better where the task has one.
        isaac: values of the task's own configuration, by path: `env.isaac.decimation=8`; null switches a term off.
        num_envs: environments stepped together.
        episode_length_s: time after which an episode is truncated, in seconds; null: the task's own.
        device: of the simulator and of all tensors.
        assets: folder or address under which the paths of robots and scenes are found; null: `ISAACSIM_ASSET_ROOT` if
            it is set, else the folder of Regimen's own models; `nvidia`: the address that Isaac Lab has.
        observation_noise: whether the noise of the observation terms is applied.
        render_size: width and height of an image in pixels.
        interpreter: name of the Python in `hardware.interpreters`.
    """

    LIBRARY: ClassVar[Library] = ISAAC_LAB
    _target_: str = "regimen.envs.isaaclab.IsaacLabEnv"
    id: str = "Isaac-Velocity-Flat-H1"
    presets: list[str] = field(default_factory=list)
    physics: str | None = None
    isaac: PlainSection = field(default_factory=dict)
    num_envs: int = 64
    episode_length_s: float | None = None
    device: str = "cpu"
    assets: str | None = None
    observation_noise: bool = True
    render_size: tuple[int, int] = field(default=(640, 480), metadata={"least": 16, "most": 8192})
    interpreter: str = "isaaclab"
    evaluation: EvaluationCfg = field(default_factory=EvaluationCfg)

    def task_problems(self, python: str) -> Iterator[str]:
        """Yield what is wrong with the task and its settings, by its catalogue."""
        from regimen.envs.isaaclab import assets
        from regimen.system.errors import RegimenError

        try:
            default = self.description(python)
            wrong = list(default.preset_problems(self.presets))
            described = default if wrong or not self.presets else self.description(python, self.presets)
        except RegimenError as error:
            yield f"id={self.id}: {error}"
            return
        yield from wrong
        if described.kind not in ("manager", "direct"):
            yield f"id={self.id}: a {described.kind} task: expected a manager-based or direct one."
        yield from self._physics_problems(described, python)
        yield from described.problems(self.isaac)
        yield from evaluation_problems(described, self.isaac, self.evaluation, self.id)
        yield from assets.problems(self.assets, described.assets)

    def agent_settings(self, library: str, config: PlainConfig) -> PlainSection:
        """Return the settings that the task has for an agent; sets of observations are filled in as rsl_rl does it."""
        from regimen.system.host import interpreter

        settings = super().agent_settings(library, config)
        if library != "rsl_rl":
            return settings
        described = Catalogue(ISAAC_LAB, interpreter(config)).description(self.id, self.presets)
        groups = described.names("observations")
        if described.tree["f"].get("state_space", {}).get("v"):  # of a direct task
            groups = [*groups, "critic"]
        sets = {name: [name if name in groups else "policy"] for name in ("actor", "critic")}
        return {**settings, "obs_groups": {**sets, **settings.get("obs_groups", {})}}

    def chosen_presets(self) -> list[str]:
        """Return the chosen presets."""
        return self.presets

    def _physics_problems(self, described: TaskDescription, python: str) -> Iterator[str]:
        """Yield a line if the simulator is unknown, has a preset of the task's own, or is not installed."""
        from regimen.envs.foreign.installed import versions

        if self.physics is not None and self.physics not in PHYSICS:
            yield f"physics={self.physics}: {did_you_mean(self.physics, PHYSICS)}"
            return
        if self.physics in described.presets:
            yield f"physics={self.physics}: the task has settings for it. Type env.presets=[{self.physics}]"
            return
        if self.physics is not None and "physics" in (self.isaac.get("sim") or {}):
            yield f"physics={self.physics} replaces env.isaac.sim.physics: remove one of them."
        own = described.tree["f"]["sim"]["f"].get("physics", {}).get("c")
        name = self.physics or CLASSES.get(own)
        if name is not None and not versions(python, [PHYSICS[name]])[PHYSICS[name]]:
            yield (
                f"id={self.id}: its simulator is {name}, which {python} lacks: install "
                f"{PHYSICS[name]} there, or type env.physics=newton_mjwarp, whose settings are general ones."
            )
