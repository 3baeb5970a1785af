"""What a node that starts asks the others: their clock, and which calls were revoked while it was away (wire-protocol 7)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sedano.contracts import Coordination, Revoke
from sedano.contracts.coordination import revoked_calls
from sedano.worker.control.statedb import REVOKES_KEPT_S

if TYPE_CHECKING:
    from sedano.app.base import Celery

_logger = logging.getLogger("celery.worker.consumer.mingle")
ANSWER_S = 1.0
MOST_IDS = 50_000  # as many as a Celery worker remembers


def mingle(app: Celery, node: str, open_coordination: Callable[[], Coordination]) -> None:
    """Adopt the clock and the revokes of every other worker that answers. Raises OperationalError."""
    _logger.info("mingle: searching for neighbors")
    with contextlib.closing(open_coordination()) as store:
        known = set(revoked_calls(store.revokes()[1]))
        arguments = {"from_node": node, "revoked": sorted(known)[:MOST_IDS]}
        replies = app.control.broadcast("hello", arguments, reply=True, timeout=ANSWER_S) or []
        answers = {name: said for reply in replies for name, said in reply.items() if isinstance(said, dict)}
        if not answers:
            _logger.info("mingle: all alone")
            return
        _logger.info("mingle: sync with %s nodes", len(answers))
        told: dict[str, None] = {}
        for name, said in answers.items():
            clock, revoked = said.get("clock"), said.get("revoked")
            if type(clock) is int and clock >= 0:
                app.clock.adjust(clock)
            if not isinstance(revoked, list | tuple | dict):
                _logger.error("mingle: %s answers in a form that nobody knows", name)
                continue
            told.update(dict.fromkeys(_ids(revoked)))
        news = [Revoke(task_id) for task_id in told if task_id not in known]
        if news:
            store.revoke(news, keep_s=REVOKES_KEPT_S)
        _logger.info("mingle: sync complete")


def _ids(revoked: Any) -> list[str]:
    """A list of ids, or a map from them to the times of their revokes."""
    return [task_id for task_id in list(revoked)[:MOST_IDS] if isinstance(task_id, str)]
