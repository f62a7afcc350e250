"""The server of the Model Context Protocol, driven by that protocol's own client over a real history."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import launches
from helpers.launches import environment
from helpers.messages import assert_names
from helpers.subprocesses import PATIENCE_S
from regimen.runs.record import read_record

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mcp") is None, reason="mcp is not installed: pip install -e '.[mcp]'"),
]

SWEEP = ("task=reach", "env.num_envs=8", "agent.trainer.timesteps=48", "seed=1,2", "hardware.threads=1")

Call = Callable[..., Awaitable[Any]]


def talk(folder: Path, conversation: Callable[[Call], Awaitable[None]], *arguments: str) -> list[str]:
    """Hold a conversation with a server in `folder`; return the names of its tools."""
    from mcp.client.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    server = StdioServerParameters(
        command=sys.executable, args=["-m", "regimen.cli", "mcp", *arguments], cwd=folder, env=environment()
    )

    async def whole() -> list[str]:
        async with Client(stdio_client(server)) as client:

            async def call(tool: str, **given: Any) -> Any:
                result = await client.call_tool(tool, given)
                text = result.content[0].text
                if result.is_error:
                    return RuntimeError(text)
                return json.loads(text) if text.startswith(("{", "[")) else text

            await conversation(call)
            return [tool.name for tool in (await client.list_tools()).tools]

    return asyncio.run(whole())


def test_the_best_run_of_a_sweep_is_found_explained_and_repeated(tmp_path: Path) -> None:
    assert "exit 0" in launches.launch(tmp_path, "-m", *SWEEP)

    async def conversation(call: Call) -> None:
        listed = await call("list_runs", filters=["stage=train", "status=finished"], sort="-return")
        best, other = listed["runs"]
        assert listed["matching"] == 2 and best["headline"]["return"] >= other["headline"]["return"]
        differing = await call("diff_runs", a=best["id"], b=other["id"])
        assert differing["settings"] == {"seed": [best["seed"], other["seed"]]} and not differing["code"]
        assert_names(await call("compare_runs", runs=[f"sweep={best['sweep']}"]), "2 runs", "return")
        assert_names(await call("show_run", run=best["id"]), best["id"], "trust", "task=reach")
        known = await call("read_metrics", run=best["id"])
        curve = await call("read_metrics", run=best["id"], names=["Train/return"], points=2)
        assert "Train/return" in known["metrics"] and len(curve["Train/return"]) >= 2

        again = await call("rerun", run=best["id"])
        end = time.monotonic() + PATIENCE_S
        while not read_record(tmp_path / again["dir"]).status.is_final:
            assert time.monotonic() < end
            await asyncio.sleep(0.2)
        repeated = await call("list_runs", filters=[f"id={again['run']}"])
        assert repeated["runs"][0]["headline"] == best["headline"]
        assert again["rerun_of"] == best["id"] and best["id"] in await call("show_run", run=again["run"])
        assert best["id"] in await call("lineage", run=best["id"])
        await call("add_note", run=best["id"], text="the better seed")
        assert [note.text for note in read_record(tmp_path / best_dir(tmp_path, best["id"])).notes] == [
            "the better seed"
        ]

    names = talk(tmp_path, conversation)
    assert {"list_runs", "dry_run", "launch", "rerun", "add_note"} <= set(names)


def best_dir(folder: Path, run: str) -> Path:
    (found,) = [path.parent for path in folder.glob("**/run.json") if path.parent.name == run]
    return found.relative_to(folder)


def test_only_what_a_dry_run_accepts_is_launched_and_mistakes_are_answers(tmp_path: Path) -> None:
    good = ["task=reach", "env.num_envs=8", "agent.trainer.timesteps=24", "hardware.threads=1"]

    async def conversation(call: Call) -> None:
        for tool in ("dry_run", "launch"):
            assert_names(str(await call(tool, arguments=["task=reach", "env.num_env=8"])), "num_env", "num_envs")
        assert not list(tmp_path.glob("outputs/*/run.json")), "nothing was started"
        assert_names(str(await call("show_run", run="nothing")), "nothing")
        assert_names(await call("dry_run", arguments=good), "reach")
        assert not list(tmp_path.glob("outputs/*/run.json"))
        started = await call("launch", arguments=good)
        end = time.monotonic() + PATIENCE_S
        while not read_record(tmp_path / started["dir"]).status.is_final:
            assert time.monotonic() < end
            await asyncio.sleep(0.2)
        assert read_record(tmp_path / started["dir"]).status == "finished"

    talk(tmp_path, conversation)


def test_read_only_it_starts_and_changes_nothing(tmp_path: Path) -> None:
    async def conversation(call: Call) -> None:
        assert (await call("list_runs"))["matching"] == 0

    names = talk(tmp_path, conversation, "--read-only")
    assert "list_runs" in names and not {"launch", "rerun", "add_note"} & set(names)
