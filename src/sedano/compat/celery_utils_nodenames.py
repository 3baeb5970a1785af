"""`celery.utils.nodenames`: names of nodes."""

from __future__ import annotations

from typing import Any

from sedano.app.nodenames import (
    anon_nodename,
    default_nodename,
    gethostname,
    host_format,
    node_format,
    nodename,
    nodesplit,
)
from sedano.protocol.queues import Exchange, Queue

WORKER_DIRECT_EXCHANGE = Exchange("C.dq2")
WORKER_DIRECT_QUEUE_FORMAT = "{hostname}.dq2"
NODENAME_SEP, NODENAME_DEFAULT = "@", "celery"


def worker_direct(hostname: Any) -> Any:
    """The queue of one node alone, by its name; a queue is returned as it is."""
    if not isinstance(hostname, str):
        return hostname
    return Queue(WORKER_DIRECT_QUEUE_FORMAT.format(hostname=hostname), WORKER_DIRECT_EXCHANGE, hostname)


__all__ = [
    "anon_nodename",
    "default_nodename",
    "gethostname",
    "host_format",
    "node_format",
    "nodename",
    "nodesplit",
    "worker_direct",
]
