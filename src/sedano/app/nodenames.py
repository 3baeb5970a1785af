"""Names of nodes and the `%` codes in them and in file names (surface 7.2)."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from typing import Any

from sedano.exceptions import ImproperlyConfigured
from sedano.protocol.queues import Exchange, Queue

NAME, SEPARATOR = "celery", "@"
WORKER_DIRECT_EXCHANGE = Exchange("C.dq2")
WORKER_DIRECT_QUEUE_FORMAT = "{hostname}.dq2"
_CODE = re.compile(r"%(.)")


def worker_direct(hostname: Any) -> Any:
    """The queue of one node alone, by its name; a queue is returned as it is."""
    if not isinstance(hostname, str):
        return hostname
    return Queue(WORKER_DIRECT_QUEUE_FORMAT.format(hostname=hostname), WORKER_DIRECT_EXCHANGE, hostname)


def gethostname() -> str:
    return socket.gethostname()


def nodename(name: str | None, hostname: str) -> str:
    return f"{name or NAME}{SEPARATOR}{hostname}"


def nodesplit(text: str) -> tuple[str | None, str]:
    """(name, host); without a separator the text is the host."""
    name, separator, host = text.partition(SEPARATOR)
    return (name, host) if separator else (None, text)


def default_nodename(text: str | None, default: str = NAME) -> str:
    """What `-n TEXT` means: `name@host`, a bare word being the host part."""
    name, host = nodesplit(text or "")
    return nodename(name or default, host or gethostname())


def anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    """The name of a client, not of a node: `gen<pid>@host`."""
    return nodename(f"{prefix}{os.getpid()}", hostname or gethostname())


def expand(text: str, codes: Mapping[str, str]) -> str:
    """Replace `%x` by `codes["x"]`, `%%` by one. Raises ImproperlyConfigured for a code that there is none of."""

    def value(found: re.Match[str]) -> str:
        code = found.group(1)
        if code == "%":
            return "%"
        if code not in codes:
            known = ", ".join(f"%{known}" for known in sorted(codes))
            raise ImproperlyConfigured(f"{text!r} has the unknown code %{code}: there are {known}, and %% for a percent sign")
        return codes[code]

    return _CODE.sub(value, text)


def host_format(text: str, host: str | None = None, name: str | None = None, *, index: int = 0, **more: str) -> str:
    """Expand a node name. `%n` is `name`, or the host's part before the first dot."""
    host = host or gethostname()
    short, _, domain = host.partition(".")
    codes = {"h": host, "n": name or short, "d": domain, "i": str(index), "I": f"-{index}" if index else ""}
    return expand(text, {**codes, **more})


def node_format(text: str, node: str, *, index: int = 0) -> str:
    """Expand a file name for `node`; `index` is 0 in the supervisor, the process index in a slot."""
    name, host = nodesplit(node)
    return host_format(text, host, name or NAME, index=index, p=node)


def node_name(wanted: str | None) -> str:
    """The node's name from `-n`."""
    return host_format(default_nodename(wanted))
