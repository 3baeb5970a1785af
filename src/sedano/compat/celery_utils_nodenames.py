"""`celery.utils.nodenames`: names of nodes."""

from __future__ import annotations

from sedano.app.nodenames import (
    WORKER_DIRECT_EXCHANGE,
    WORKER_DIRECT_QUEUE_FORMAT,
    anon_nodename,
    default_nodename,
    gethostname,
    host_format,
    node_format,
    nodename,
    nodesplit,
    worker_direct,
)

NODENAME_SEP, NODENAME_DEFAULT = "@", "celery"


__all__ = [
    "WORKER_DIRECT_EXCHANGE",
    "WORKER_DIRECT_QUEUE_FORMAT",
    "anon_nodename",
    "default_nodename",
    "gethostname",
    "host_format",
    "node_format",
    "nodename",
    "nodesplit",
    "worker_direct",
]
