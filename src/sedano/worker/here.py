"""The nodes that run in this very process, for whoever asks from outside of them (Celery's `worker.state`).

The engine never reads it: its parts are given what they need.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sedano.worker.node import Worker

_nodes: list[Worker] = []


@contextmanager
def noted(node: Worker) -> Generator[None]:
    """`node` runs in this process during the block."""
    _nodes.append(node)
    try:
        yield
    finally:
        _nodes.remove(node)


def nodes() -> list[Worker]:
    """Those that run; none in the processes of their pools, which were forked with a copy of the list."""
    pid = os.getpid()
    return [node for node in _nodes if node.pid == pid]
