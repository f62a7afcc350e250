"""Describe mjlab's tasks as JSON, in the interpreter that has mjlab: `python -m regimen.envs.mjlab.reader`.

The documents are those of `regimen.envs.foreign.description`.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from importlib import metadata

from regimen.envs.foreign.description import Node, answer, describe, without_null
from regimen.envs.mjlab.groups import renamed

RECURRENT = ("rnn_type", "rnn_hidden_dim", "rnn_num_layers")
"""Settings that mjlab's runner drops from a model without `rnn_type`."""


def main(argv: list[str]) -> int:
    """Write one JSON document, see `answer`."""
    return answer(argv, index, configuration, agent)


def index() -> Node:
    """Return id -> kind and agent configurations of all tasks, and the version they are from."""
    from regimen.envs.mjlab.task_cfg import registered

    entry = {"entry_point": "mjlab.envs:ManagerBasedRlEnv", "agents": ["rsl_rl"]}
    return {"mjlab": metadata.version("mjlab"), "tasks": {name: entry for name in registered()}}


def configuration(task: str, presets: list[str]) -> Node:
    """Return the tree of a task's configuration; mjlab has no presets, and brings its robots along."""
    from regimen.envs.mjlab.task_cfg import load_cfg

    return {"presets": {}, "kind": "manager", "tree": describe(load_cfg(task)), "assets": []}


def agent(task: str, library: str) -> Node:
    """Return the settings of a task for the agent of rsl_rl, without those that are null."""
    from regimen.envs.mjlab.task_cfg import load_agent_cfg

    settings = without_null(asdict(load_agent_cfg(task)))
    for model in (settings[name] for name in ("actor", "critic")):
        if "rnn_type" not in model:
            for name in RECURRENT:
                model.pop(name, None)
    groups = settings["obs_groups"]
    settings["obs_groups"] = {model: [renamed(name, names) for name in names] for model, names in groups.items()}
    return {"settings": settings}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
