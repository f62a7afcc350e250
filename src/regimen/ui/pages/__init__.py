"""The pages and their addresses."""

from __future__ import annotations

import asyncio
import importlib
from types import ModuleType

from regimen.ui import layout
from regimen.ui.history import History
from regimen.ui.pages import compare, datasets, lineage, run, runs


def register(history: History) -> None:
    """Register all pages.

    Those that read records of sweeps and pipelines load Hydra, which would be half of the start: at their first visit.

    Args:
        history: the runs that they show.
    """
    for page in (runs, run, compare, lineage, datasets):
        page.register(history)

    @layout.page("/sweeps")
    async def sweeps() -> None:
        await (await _module("sweeps")).show_list(history)

    @layout.page("/sweep/{sweep_id}")
    async def sweep(sweep_id: str, metric: str = "") -> None:
        await (await _module("sweeps")).show_one(history, sweep_id, metric)

    @layout.page("/pipelines")
    async def pipelines() -> None:
        await (await _module("pipelines")).show_list(history)

    @layout.page("/pipeline/{pipeline_id}")
    async def pipeline(pipeline_id: str) -> None:
        await (await _module("pipelines")).show_one(history, pipeline_id)


async def _module(name: str) -> ModuleType:
    return await asyncio.to_thread(importlib.import_module, f"{__name__}.{name}")
