"""Run an exported policy on a robot, with numpy and onnxruntime alone: a starting point for a program of your own.

runner = Runner("walker.onnx")
runner.reset()                      # where an episode begins
targets = runner.step(sensors)      # every runner.step_dt seconds: the targets of runner.joint_names

`sensors` has an array for each of `runner.sensors`, in the unit of the sensor; the last action is fed back here.
"""

import json
from typing import Any

import numpy as np
import onnxruntime


class Runner:
    """A policy: values of the sensors -> targets of the joints."""

    def __init__(self, path: str) -> None:
        """Open the ONNX file at `path`."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        stored = self.session.get_modelmeta().custom_metadata_map
        self.metadata: dict[str, Any] = {key: json.loads(value) for key, value in stored.items()}
        self.joint_names, self.step_dt = self.metadata["joint_names"], self.metadata["step_dt"]
        self.inputs = [name for name in self.metadata["inputs"] if not name.startswith("state_in_")]
        self.fed, groups = set(self.metadata["feedback"]), self.metadata["observations"].items()
        terms = [(f"{group}.{term}", term) for group, has in groups if group in self.inputs for term in has]
        read = [term for path, term in terms if path not in self.fed]
        self.sensors = list(self.metadata["sensors"] or dict.fromkeys([*self.metadata["images"], *read]))
        self.reset()

    def reset(self) -> None:
        """Begin an episode: state and last action are zeros, and the first reading stands for all before it."""
        self.actions = np.zeros(len(self.joint_names), np.float32)
        self.state = {name: np.zeros((1, *shape), np.float32) for name, shape in self.metadata["state"].items()}
        self.past: dict[str, list[np.ndarray]] = {}

    def step(self, sensors: dict[str, np.ndarray]) -> np.ndarray:
        """Return the target of each joint, (A,), from one reading of each sensor."""
        feed = {name: self._input(name, sensors)[None] for name in self.inputs}
        feed |= {f"state_in_{name}": part for name, part in self.state.items()}
        actions, targets, *after = self.session.run(None, feed)
        self.actions, self.state = actions[0], dict(zip(self.state, after, strict=True))
        return np.asarray(targets[0])

    def _input(self, name: str, sensors: dict[str, np.ndarray]) -> np.ndarray:
        if name not in self.metadata["observations"]:  # the file has the pipeline in it, or it is an image
            return np.asarray(sensors[name], np.uint8 if name in self.metadata["images"] else np.float32)
        parts: list[np.ndarray] = []
        for term, meaning in self.metadata["observations"][name].items():
            path, bound = f"{name}.{term}", np.inf if meaning.get("clip") is None else meaning["clip"]
            value = self.actions if path in self.fed else sensors[path if path in sensors else term]
            value = np.clip(np.asarray(value, np.float32), -bound, bound) * np.float32(meaning.get("scale", 1.0))
            past = self.past.setdefault(path, [value] * meaning.get("history", 1))
            past[:] = [*past[1:], value]
            parts += past
        return np.concatenate(parts)
