"""Calls whose task no worker knew: a table of their own, from which they go back to their queues as new rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from sedano.contracts import Parked
from sedano.drivers.sqlite import backlog
from sedano.drivers.sqlite.backlog import Entry, Row
from sedano.drivers.sqlite.queries import load
from sedano.drivers.sqlite.store import Step, Store, as_json

_SQL, _LAST_ID = load("parked"), load("backlog")["last-id"]

_Parked = tuple[int, int, int, bytes]
"""(id, queue, priority, raw)"""


def promote(step: Step, queues: Sequence[str], now: float, limit: int) -> int:
    """Those whose time is over go to the heads; how many."""
    return _to_heads(step, step.db.execute(_SQL["over"], (as_json(queues), now, limit)).fetchall(), now)


def unpark(store: Store, tasks: Collection[str], queues: Sequence[str], limit: int) -> int:
    """Those of `tasks` go to the heads; how many. Takes no lock when there is none."""
    if not store.query(_SQL["is-any"])[0][0]:
        return 0
    what = (as_json(list(queues)), as_json([backlog.parked_name(task) for task in tasks]))
    if not store.query(_SQL["is-known"], what)[0][0]:
        return 0
    with store.step() as step:
        return _to_heads(step, step.db.execute(_SQL["known"], (*what, limit)).fetchall(), store.clock.wall())


def handback(step: Step, queues: Sequence[str], limit: int, now: float) -> int:
    """Up to `limit` go to the tails, those whose time ends first first; how many."""
    rows: list[_Parked] = step.db.execute(_SQL["over"], (as_json(queues), math.inf, limit)).fetchall()
    _to_tails(step, rows, now)
    return len(rows)


def counts(store: Store, queues: Sequence[str]) -> list[Parked]:
    return [Parked(*row) for row in store.query(_SQL["counts"], (as_json(list(queues)),))]


def _to_heads(step: Step, rows: Sequence[_Parked], now: float) -> int:
    first = (step.db.execute(_LAST_ID).fetchone()[0] or 0) + 1
    _to_tails(step, rows, now)
    backlog.put_first(step, [Row((id_,), id_, queue, priority) for id_, (_, queue, priority, _) in enumerate(rows, first)])
    return len(rows)


def _to_tails(step: Step, rows: Sequence[_Parked], now: float) -> None:
    if rows:
        backlog.put(step, [Entry(raw, priority, "", "", None, queue) for _, queue, priority, raw in rows], now)
        step.db.execute(_SQL["drop"], (as_json([row[0] for row in rows]),))
