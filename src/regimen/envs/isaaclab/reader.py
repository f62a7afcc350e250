"""Describe Isaac Lab's tasks as JSON, in the interpreter that has Isaac Lab: `python -m regimen.envs.isaaclab.reader`.

The documents are those of `regimen.envs.foreign.description`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from regimen.envs.foreign.description import Node, answer, describe, without_null

PLACEHOLDER = "/ISAACSIM_ASSET_ROOT"
"""Asset root while configurations are read, so that the tree does not depend on this machine's."""


def main(argv: list[str]) -> int:
    """Write one JSON document, see `answer`."""
    os.environ["ISAACSIM_ASSET_ROOT"] = PLACEHOLDER
    return answer(argv, index, configuration, agent)


def index() -> Node:
    """Return id -> kind and agent configurations of all tasks, and the versions they are from."""
    from regimen.envs.isaaclab.task_cfg import AGENT_CFG, ENV_CFG, registered

    tasks = {}
    for name, spec in sorted(registered().items()):
        agents = sorted(k.removesuffix(AGENT_CFG) for k in spec.kwargs if k.endswith(AGENT_CFG) and k != ENV_CFG)
        tasks[name] = {"entry_point": str(spec.entry_point), "agents": agents}
        if spec.kwargs.get("deprecated"):
            tasks[name]["deprecated"] = str(spec.kwargs["deprecated"].get("alias", ""))
    return {"isaaclab": metadata.version("isaaclab"), "tasks": tasks}


def configuration(task: str, presets: list[str]) -> Node:
    """Return the tree of a task's configuration, its presets, and the files that its scene needs."""
    from regimen.envs.isaaclab.task_cfg import ENV_CFG, load_cfg, registered

    registered(task)
    from isaaclab_tasks.utils.hydra import collect_presets
    from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry

    offered: dict[str, list[str]] = {}
    for path, names in collect_presets(load_cfg_from_registry(task.rpartition(":")[2], ENV_CFG)).items():
        for name in names:
            offered.setdefault(name, []).append(path)
    cfg = load_cfg(task, presets)
    tree = describe(cfg)
    return {
        "presets": {name: sorted(set(paths)) for name, paths in sorted(offered.items()) if name != "default"},
        "kind": kind_of(cfg),
        "tree": tree,
        "assets": sorted(set(_assets(tree))),
    }


def agent(task: str, library: str) -> Node:
    """Return the settings of a task for a library's agent, without those that are null."""
    from regimen.envs.isaaclab.task_cfg import AGENT_CFG, registered

    registered(task)
    from isaaclab_tasks.utils.hydra import resolve_presets
    from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry

    cfg = load_cfg_from_registry(task.rpartition(":")[2], f"{library}{AGENT_CFG}")
    if library == "rsl_rl":
        from isaaclab_rl.rsl_rl import handle_deprecated_rsl_rl_cfg

        cfg = handle_deprecated_rsl_rl_cfg(resolve_presets(cfg), metadata.version("rsl-rl-lib"))
    return {"settings": without_null(cfg if isinstance(cfg, dict) else cfg.to_dict())}


def kind_of(cfg: Any) -> str:
    """Return `manager`, `direct`, or the name of another base class of a configuration."""
    names = [base.__name__ for base in type(cfg).__mro__]
    known = {"ManagerBasedRLEnvCfg": "manager", "DirectRLEnvCfg": "direct", "DirectMARLEnvCfg": "multi-agent"}
    return next((kind for name, kind in known.items() if name in names), names[0])


def _assets(tree: Node, path: str = "") -> Iterator[str]:
    """Yield the files below the asset root that are spawned: `usd_path`, but not those of markers."""
    for name, node in tree.get("f", {}).items():
        if "visualizer" in name or name == "markers":
            continue
        value = node.get("v")
        if name == "usd_path" and isinstance(value, str) and value.startswith(PLACEHOLDER):
            yield value.removeprefix(PLACEHOLDER).lstrip("/")
        yield from _assets(node, f"{path}.{name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
