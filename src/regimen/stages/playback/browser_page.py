"""A page in the browser that shows the robots of a rollout in 3D, with what a person can do to them."""

from __future__ import annotations

import html
import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from regimen.display.figures import COLORS
from regimen.envs.terms.events import change_joint_torque
from regimen.envs.vec_env import task_below
from regimen.stages.playback.robot_meshes import BodyPoses
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.envs.manager_env import ManagerEnv
    from regimen.envs.vec_env import VecEnv

SHOWN_ENVS = 64
"""Robots in the picture at most."""
SPACING = 2.0
"""m between the origins of neighbours in the picture."""
GROUND_SIDE_M, GROUND_MARGIN_M = 20.0, 5.0
"""Side length of the part of uneven ground that is shown, and how far from its middle a robot walks before it moves."""
FRAME_S = 1 / 60
"""Shortest time between two pictures, in s."""
SIGNALS_ORDER = 1e6
"""Place of the signals on the page: below all controls."""
SIGNALS_S = 0.2
"""Time between two updates of bars and curves, in s."""
CURVE_S = 5.0
"""Duration that the curves show, in s."""
FORCE_M_PER_N = 0.5 / 500.0
"""Length of the arrow of a contact force."""
SLICE_S = 0.05
"""Longest sleep between two looks at the controls, in s."""
HTML_STYLE = "padding:2px 10px;overflow-wrap:anywhere"
COMMAND_RANGE = 1.0
"""Largest absolute value of a command's slider where the task names no range."""


@dataclass
class Controls:
    """What the person has chosen. The page's threads write it, the rollout reads it.

    Attributes:
        paused: whether no step is made.
        steps: steps to make although it is paused.
        speed: of the robots in shares of real time.
        unlimited: whether steps are made as fast as possible.
        env: that the signals belong to, and that the camera follows.
        follow: whether the camera moves with that robot.
        ended: whether the person has ended the session.
    """

    paused: bool = False
    steps: int = 0
    speed: float = 1.0
    unlimited: bool = False
    env: int = 0
    follow: bool = True
    ended: bool = False


def task_of(env: VecEnv) -> ManagerEnv:
    """Return the task below all wrappers.

    Raises:
        ConfigError: it has no robot that could be shown.
    """
    task = task_below(env)
    if not hasattr(task, "robot") or not hasattr(task, "world"):
        raise ConfigError("The task has no robot of its own, so that the page has nothing to show. Type video=true.")
    return cast("ManagerEnv", task)


class BrowserPage:
    """The page, served on loopback by viser until `close`.

    Attributes:
        controls: what the person has chosen.
        address: of the page.
        pictures: states that were sent to the page.
    """

    def __init__(self, env: VecEnv, title: str, port: int) -> None:
        """Serve the page.

        Args:
            env: whose robots it shows; the first `SHOWN_ENVS` of them.
            title: of the page, plain text.
            port: of the page; the next free one if it is in use.
        """
        import viser

        self.controls, self._env, self._task = Controls(), env, task_of(env)
        self._wanted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._poses = BodyPoses(self._task.robot, self._task.joints)
        self._shown = min(env.num_envs, SHOWN_ENVS)
        self._terrain: Any = getattr(self._task, "terrain", None)  # whose tiles keep the robots apart
        self._origins = _grid(self._shown) if self._terrain is None else np.zeros((self._shown, 3), np.float32)
        self._ground_at = np.full(2, np.inf)
        self._server: Any = viser.ViserServer(host="127.0.0.1", port=port, label=title, verbose=False)
        self.address = f"http://localhost:{self._server.get_port()}"
        self._drawn = self._signalled = self._due = 0.0
        self._pace: deque[tuple[float, float]] = deque(maxlen=50)
        self._build_scene()
        self._build_controls(title)
        self._curve: deque[tuple[float, float, float]] = deque(maxlen=max(2, round(CURVE_S / env.step_dt)))
        self._curve_joint = 0
        self._time, self._restart, self.pictures = 0.0, False, 0
        self.draw()

    def before_step(self, check: Callable[[], None]) -> None:
        """Carry out what the person asked for; return when the next step is due.

        Args:
            check: called while the rollout is paused; raises to stop it.
        """
        while True:
            self._carry_out()
            if not self.controls.paused or self.controls.steps > 0 or self.controls.ended:
                break
            self._due = 0.0
            time.sleep(SLICE_S)
            check()
        self.controls.steps = max(0, self.controls.steps - 1)
        if self.controls.paused or self.controls.unlimited:
            self._due = 0.0
            return
        now = time.perf_counter()
        while not self.controls.unlimited and (left := self._due - time.perf_counter()) > 0:
            time.sleep(min(left, SLICE_S))
        self._due = max(self._due, now) + self._env.step_dt / max(self.controls.speed, 1e-3)

    def after_step(self, action: torch.Tensor) -> None:
        """Show the state after a step; pictures that come too fast are left out.

        Args:
            action: (N, A) of the policy.
        """
        self._time += self._env.step_dt
        self._pace.append((time.perf_counter(), self._time))
        spec, column = self._env.io.action, self._curve_joint
        env, joint = self.controls.env, self._task.joints.index(spec.joints[column])
        unclipped = float(action[env, column])
        clipped = unclipped if spec.clip is None else min(max(unclipped, -spec.clip), spec.clip)
        target = spec.offset[column] + spec.scale[column] * clipped
        self._curve.append((self._time, target, float(self._task.state.joint_pos[env, joint])))
        now = time.perf_counter()
        if now - self._drawn >= FRAME_S or self.controls.paused:
            self.draw()
        if now - self._signalled >= SIGNALS_S or self.controls.paused:
            self._signalled = now
            self._draw_signals()

    def draw(self) -> None:
        """Show the present state of the robots."""
        self._drawn = time.perf_counter()
        state = self._task.state
        shown = (v[: self._shown].cpu().numpy() for v in (state.root_pos, state.root_quat, state.joint_pos))
        positions, turns = self._poses.at(*shown)
        positions += self._origins[:, None]
        middle = positions[self.controls.env, 0].copy()
        moved = middle * (1.0, 1.0, 0.0) if self.controls.follow else np.zeros(3)
        if self._terrain is not None:
            moved = np.array([*middle[:2], float(self._terrain.origins[self.controls.env, 2])])
            self._draw_ground(middle[:2])
        positions -= moved.astype(np.float32)
        with self._server.atomic():
            self._ground.position = tuple(-np.mod(moved, 1.0) if self._terrain is None else -moved)
            for mesh, handle in self._handles:
                handle.batched_positions = np.ascontiguousarray(positions[:, mesh.body])
                handle.batched_wxyzs = np.ascontiguousarray(turns[:, mesh.body])
            self._draw_forces(positions)
        self._server.flush()
        self.pictures += 1

    def _draw_ground(self, place: np.ndarray) -> None:
        """Show the uneven ground around a place (2,), in m; the same part until the place is far from its middle."""
        if np.abs(place - self._ground_at).max() <= GROUND_MARGIN_M:
            return
        part = self._terrain.terrain.ground.window(place.tolist(), GROUND_SIDE_M)
        heights = part.heights.cpu().numpy()
        x, y = (start + np.arange(n) * part.cell for start, n in zip(part.start, heights.shape, strict=True))
        vertices = np.stack([*np.meshgrid(x, y, indexing="ij"), heights], axis=-1).reshape(-1, 3)
        index = np.arange(heights.size).reshape(heights.shape)
        low, up, right, high = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
        faces = np.concatenate([np.stack(f, axis=-1).reshape(-1, 3) for f in ((low, right, high), (low, high, up))])
        self._ground = self._server.scene.add_mesh_simple(
            "/ground", vertices.astype(np.float32), faces.astype(np.uint32), color=(150, 158, 168), flat_shading=True
        )
        self._ground_at = place.copy()

    def add_interventions(self) -> None:
        """Make commands, pushes, resets and faults available; called once."""
        _Interventions(self, self._server.gui, self._env, self._task)

    def enqueue(self, work: Callable[[], None]) -> None:
        """Have the rollout do `work` before its next step; for the page's threads."""
        self._wanted.put(work)

    def ask_restart(self) -> None:
        """Have the rollout reset all envs before its next step; for the page's threads."""
        self._restart = True

    def restarted(self) -> bool:
        """Return once for each request of `ask_restart` whether there was one."""
        wanted, self._restart = self._restart, False
        return wanted

    def set_status(self, text: str) -> None:
        """Show a line of plain text below the title."""
        self._status.content = f"<div style='{HTML_STYLE}'>{html.escape(text)}</div>"

    @property
    def gui(self) -> Any:
        """Controls of the page, for more of them."""
        return self._server.gui

    def close(self) -> None:
        """End the server."""
        self._server.stop()

    def _build_scene(self) -> None:
        scene = self._server.scene
        scene.set_up_direction("+z")
        self._server.initial_camera.position, self._server.initial_camera.look_at = (1.9, -1.9, 1.3), (0.0, 0.0, 0.4)
        if self._terrain is None:
            grid = {"cell_size": 0.5, "section_size": 1.0, "fade_distance": 30.0}
            self._ground = scene.add_grid("/ground", infinite_grid=True, **grid)
        turns = np.tile(np.array([1.0, 0.0, 0.0, 0.0], np.float32), (self._shown, 1))
        self._handles = [
            (
                mesh,
                scene.add_batched_meshes_simple(
                    f"/robot/{mesh.name}",
                    mesh.vertices,
                    mesh.faces,
                    turns,
                    np.zeros((self._shown, 3), np.float32),
                    batched_colors=mesh.color,
                    opacity=mesh.opacity if mesh.opacity < 1.0 else None,
                    lod="off",
                    flat_shading=False,
                ),
            )
            for mesh in self._poses.meshes()
        ]
        bodies = [name for name in self._task.bodies if name in self._poses.names]
        self._touched = [(self._task.bodies.index(name), self._poses.row(name)) for name in bodies]
        self._forces = scene.add_arrows(
            "/forces",
            np.zeros((max(1, len(self._touched)), 2, 3), np.float32),
            (214, 39, 40),
            shaft_radius=0.01,
            head_radius=0.025,
            head_length=0.05,
        )
        self._forces.visible = False

    def _build_controls(self, title: str) -> None:
        gui, controls = self._server.gui, self.controls
        gui.configure_theme(show_logo=False, show_share_button=False)
        gui.set_panel_label("Regimen")
        gui.add_html(f"<div style='{HTML_STYLE}'><b>{html.escape(title)}</b></div>")
        self._status = gui.add_html("")
        with gui.add_folder("Playback"):
            pause = gui.add_button("Pause (space)")
            step = gui.add_button("One step (N)")
            speed = gui.add_slider("Speed", min=0.1, max=2.0, step=0.1, initial_value=1.0)
            unlimited = gui.add_checkbox("As fast as possible", False)
            self._factor = gui.add_text("Real-time factor", "", disabled=True)
            follow = gui.add_checkbox("Camera follows", True)
            env = gui.add_slider("Env", min=0, max=max(1, self._shown - 1), step=1, initial_value=0)
            env.visible = self._shown > 1
            end = gui.add_button("End", color="red")
        with gui.add_folder("Signals", order=SIGNALS_ORDER):
            self._rewards = gui.add_html("")
            arrows = gui.add_checkbox("Contact forces", False)
            joint = gui.add_dropdown("Joint", tuple(self._env.io.action.joints))
            self._plot = gui.add_uplot(
                (np.zeros(2), np.zeros(2), np.zeros(2)),
                (
                    {"label": "s"},
                    {"label": "target", "stroke": COLORS[1], "width": 1},
                    {"label": "position", "stroke": COLORS[0], "width": 2},
                ),
                title="rad",
                aspect=1.6,
            )

        def toggle(_: Any) -> None:
            controls.paused = not controls.paused
            pause.label = "Continue (space)" if controls.paused else "Pause (space)"

        def one_step(_: Any) -> None:
            controls.paused, controls.steps, pause.label = True, controls.steps + 1, "Continue (space)"

        def choose_joint(_: Any) -> None:
            self._curve_joint = self._env.io.action.joints.index(joint.value)
            self._curve.clear()

        def choose_env(_: Any) -> None:
            controls.env = min(int(env.value), self._shown - 1)
            self._curve.clear()

        pause.on_click(toggle)
        step.on_click(one_step)
        gui.add_command("Pause or continue", hotkey="space").on_trigger(toggle)
        gui.add_command("One step", hotkey="N").on_trigger(one_step)
        speed.on_update(lambda _: setattr(controls, "speed", float(speed.value)))
        unlimited.on_update(lambda _: setattr(controls, "unlimited", bool(unlimited.value)))
        follow.on_update(lambda _: setattr(controls, "follow", bool(follow.value)))
        env.on_update(choose_env)
        joint.on_update(choose_joint)
        arrows.on_update(lambda _: setattr(self._forces, "visible", bool(arrows.value)))
        end.on_click(lambda _: setattr(controls, "ended", True))

    def _carry_out(self) -> None:
        while not self._wanted.empty():
            self._wanted.get()()
            if self.controls.paused:
                self.draw()

    def _draw_forces(self, positions: np.ndarray) -> None:
        if not self._forces.visible or not self._touched:
            return
        env = self.controls.env
        force = self._task.state.contact_force[env].cpu().numpy()
        starts = np.stack([positions[env, row] for _, row in self._touched])
        ends = starts.copy()
        ends[:, 2] += [max(1e-3, FORCE_M_PER_N * float(force[column])) for column, _ in self._touched]
        self._forces.points = np.stack((starts, ends), axis=1)

    def _draw_signals(self) -> None:
        env, rewards = self.controls.env, self._task.rewards
        values = dict(zip(rewards.terms, (rewards.last[env] / self._env.step_dt).tolist(), strict=True))
        self._rewards.content = _bars(values)
        if len(self._curve) >= 2:
            self._plot.data = tuple(np.array(column) for column in zip(*self._curve, strict=True))
        if len(self._pace) >= 2:
            wall, simulated = (b - a for a, b in zip(self._pace[0], self._pace[-1], strict=True))
            self._factor.value = f"{simulated / max(wall, 1e-9):.2f}"


class _Interventions:
    """Commands, pushes, resets and faults; each is carried out by the rollout, between two steps."""

    def __init__(self, page: BrowserPage, gui: Any, env: VecEnv, task: ManagerEnv) -> None:
        self._page, self._env, self._task = page, env, task
        for name, command in task.commands.terms.items():
            if hasattr(command, "fix"):  # a gait clock cannot be held
                self._build_command(gui, name)
        with gui.add_folder("Disturbances"):
            reset = gui.add_button("Reset all (R)")
            speed = gui.add_slider("Push (m/s)", min=0.1, max=3.0, step=0.1, initial_value=1.0)
            sides = gui.add_button_group("Push to", ("front", "back", "left", "right"))
        reset.on_click(lambda _: page.ask_restart())
        gui.add_command("Reset all", hotkey="R").on_trigger(lambda _: page.ask_restart())
        sides.on_click(lambda _: page.enqueue(lambda: self._push(str(sides.value), float(speed.value))))
        for name, term in task.events.terms.items():
            if isinstance(term, change_joint_torque):
                self._build_fault(gui, name, term)

    def _build_command(self, gui: Any, name: str) -> None:
        term = self._task.commands.terms[name]
        width, ranges = term.value.shape[1], getattr(term, "ranges", None)
        labels = (
            ("forward (m/s)", "left (m/s)", "turn left (rad/s)")
            if width == 3
            else tuple(f"{name} {i}" for i in range(width))
        )
        now = term.value[0].tolist()
        sliders = []
        with gui.add_folder(f"Command {name}"):
            for label, value, (low, high) in zip(
                labels, now, ranges or [(-COMMAND_RANGE, COMMAND_RANGE)] * width, strict=True
            ):
                low, high = min(low, value, -0.1), max(high, value, 0.1)
                sliders.append(
                    gui.add_slider(
                        label, min=round(low, 2), max=round(high, 2), step=0.05, initial_value=round(value, 2)
                    )
                )
            held = gui.add_checkbox("Hold for all envs", False)

        def apply(_: Any) -> None:
            if held.value:
                values = torch.tensor(
                    [[slider.value for slider in sliders]], dtype=torch.float32, device=self._env.device
                )
                self._page.enqueue(lambda: self._env.fix_command(name, values.repeat(self._env.num_envs, 1)))

        def hold(_: Any) -> None:
            held.value = True
            apply(None)

        def change(slider: Any, by: float) -> None:
            slider.value = round(min(max(slider.value + by, slider.min), slider.max), 2)
            hold(None)

        for slider in sliders:
            slider.on_update(hold)
        held.on_update(apply)
        if width == 3:
            for key, slider, by in (
                ("arrowup", 0, 0.1),
                ("arrowdown", 0, -0.1),
                ("arrowleft", 2, 0.1),
                ("arrowright", 2, -0.1),
            ):
                command = gui.add_command(f"{labels[slider]} {by:+g}", hotkey=key)
                command.on_trigger(lambda _, slider=sliders[slider], by=by: change(slider, by))

    def _build_fault(self, gui: Any, name: str, term: change_joint_torque) -> None:
        joints = tuple(self._task.joints[i] for i in term.candidates.tolist())
        with gui.add_folder(f"Fault {name}"):
            joint = gui.add_dropdown("Joint", joints)
            low, high = float(term.severity_range.min()), float(term.severity_range.max())
            severity = gui.add_slider(
                "Severity", min=round(min(low, 0.0), 2), max=round(high, 2), step=0.1, initial_value=round(low, 1)
            )
            broken = gui.add_checkbox("Broken, in all envs", False)
        self._page.enqueue(lambda: term.start_now(-1, 0.0))  # none until the person chooses one

        def apply(_: Any) -> None:
            number = self._task.joints.index(joint.value) if broken.value else -1
            self._page.enqueue(lambda: term.start_now(number, float(severity.value)))

        broken.on_update(apply)
        for control in (joint, severity):
            control.on_update(lambda _: apply(_) if broken.value else None)

    def _push(self, side: str, speed: float) -> None:
        """Add `speed` in m/s to the base of all robots, in the direction as each of them sees it."""
        task = self._task
        forward = {"front": (1.0, 0.0), "back": (-1.0, 0.0), "left": (0.0, 1.0), "right": (0.0, -1.0)}[side]
        w, x, y, z = task.state.root_quat.unbind(1)
        heading = torch.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        velocity = torch.zeros(task.num_envs, 6, device=task.device)
        velocity[:, 0] = speed * (forward[0] * heading.cos() - forward[1] * heading.sin())
        velocity[:, 1] = speed * (forward[0] * heading.sin() + forward[1] * heading.cos())
        task.world.push(torch.arange(task.num_envs, device=task.device), velocity)


def _grid(count: int) -> np.ndarray:
    """Return places (count, 3) m of robots in rows."""
    columns = int(np.ceil(np.sqrt(count)))
    rows = np.arange(count)
    return np.stack([SPACING * (rows // columns), SPACING * (rows % columns), np.zeros(count)], axis=1).astype(
        np.float32
    )


def _bars(values: dict[str, float]) -> str:
    """Return bars of reward terms per second as HTML: to the right what is earned, to the left what is lost."""
    largest = max((abs(value) for value in values.values()), default=0.0) or 1.0
    rows = []
    for name, value in values.items():
        share, color = 50 * abs(value) / largest, COLORS[0] if value >= 0 else COLORS[3]
        place = f"left:{50 if value >= 0 else 50 - share:.1f}%;width:{share:.1f}%"
        bar = f"<div style='position:absolute;{place};height:100%;background:{color}'></div>"
        rows.append(
            "<div style='display:flex;justify-content:space-between'>"
            f"<span>{html.escape(name)}</span><span>{value:+.3f}</span></div>"
            f"<div style='position:relative;height:5px;background:rgba(128,128,128,.2)'>{bar}</div>"
        )
    return f"<div style='{HTML_STYLE};font-size:11px;line-height:1.35'><b>Reward per second</b>{''.join(rows)}</div>"
