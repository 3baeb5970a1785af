"""The one process of a pool that runs many calls in it: finds its crew, and is the owner of the lanes until the end."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, Protocol, cast

from sedano.crashpoints import reach
from sedano.worker.context import SlotContext
from sedano.worker.lanecall import Crew
from sedano.worker.lanes import LaneOwner
from sedano.worker.rowview import Phase


class ServingCrew(Crew, Protocol):
    def serve(self, run: Callable[[], int]) -> int:
        """Call `run`, in this thread or beside it, and return its status. Called in the main thread."""
        ...


def make_crew(pool: str, lanes: int, app: Any) -> ServingCrew:
    """The crew of `pool`: a name, or `module:Class` for one of the user's own. Imports nothing that another pool needs."""
    if ":" in pool:
        return cast(ServingCrew, importlib.import_module("sedano.worker.pools.custom").CustomCrew(lanes, pool, app))
    if pool in ("threads", "asyncio"):
        loop_crew = importlib.import_module("sedano.worker.pools.asyncio").LoopCrew
        return cast(ServingCrew, loop_crew(lanes, in_main=pool == "asyncio"))
    return cast(ServingCrew, importlib.import_module("sedano.worker.pools.green").GreenCrew(lanes, pool))


def run_lanes(ctx: SlotContext, pool: str) -> int:
    """Run calls until the supervisor says stop; the process's exit code."""
    row, board = ctx.table.row(ctx.index), ctx.table.boards[ctx.index]
    row.phase = Phase.STARTING
    row.pid = os.getpid()
    os.set_blocking(ctx.wake_fd, False)
    reach("slot.started")
    crew = make_crew(pool, board.lanes, ctx.app)
    owner = LaneOwner(ctx, board, crew)
    try:
        return crew.serve(owner.run)
    finally:
        owner.close()
