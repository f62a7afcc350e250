"""Answers that are no pages: rows of the table, files of runs, style and scripts."""

from __future__ import annotations

import orjson
from fastapi import APIRouter
from fastapi.responses import FileResponse, PlainTextResponse, Response

from regimen.runs.status import Status
from regimen.system.errors import RunReferenceError
from regimen.ui import run_files
from regimen.ui.history import NEWEST_FIRST, History
from regimen.ui.layout import STATIC
from regimen.ui.run_table import cells, named

MOST_ROWS = 500
"""Rows in one answer."""


def router(history: History) -> APIRouter:
    """Return the routes over the runs of `history`."""
    routes = APIRouter()

    @routes.get("/api/state")
    async def state() -> Response:
        rows = history.rows
        is_live = any(row.status == Status.RUNNING for row in rows)
        return _json({"version": history.version, "live": is_live})

    @routes.get("/api/rows")
    async def rows(
        filter: str = "",
        sort: str = NEWEST_FIRST,
        columns: str = "",
        start: int = 0,
        end: int = 100,
    ) -> Response:
        await history.ready()
        found = history.select(filter, sort or NEWEST_FIRST)
        first = max(0, start)
        chosen = named(columns.split(","))
        part = found.runs[first : min(end, first + MOST_ROWS)]
        return _json(
            {
                "rows": [cells(run, chosen) for run in part],
                "count": len(found.runs),
                "total": found.total,
                "problem": found.problem,
                "hints": found.hints,
            }
        )

    @routes.get("/files/{run_id}/{name:path}")
    async def file(run_id: str, name: str) -> Response:
        try:
            found = run_files.served(history.open(run_id), name)
        except RunReferenceError:
            found = None
        if found is None:
            return PlainTextResponse("This file is not one that a run lists, or it is gone.", 404)
        return FileResponse(
            found.path,
            media_type=found.media_type,
            filename=None if found.is_shown else found.path.name,
            headers={"content-security-policy": run_files.SANDBOX, "cache-control": "private, no-cache"},
        )

    @routes.get("/assets/{version}/{name}")
    async def asset(version: str, name: str) -> Response:
        if name not in {path.name for path in STATIC.iterdir()}:
            return PlainTextResponse("There is no such file.", 404)
        return FileResponse(STATIC / name, headers={"cache-control": "private, max-age=31536000, immutable"})

    return routes


def _json(content: object) -> Response:
    return Response(
        orjson.dumps(content, default=str), media_type="application/json", headers={"cache-control": "no-store"}
    )
