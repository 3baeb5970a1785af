"""Connections that notice in time that nobody answers (promise P7)."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from sedano.app.connect import Stores

LONGEST_S = 8.0
SHORTEST_S = 2.0


def brisk(stores: Stores, lease_s: float, heard: Callable[[], None] | None = None) -> Stores:
    """The same stores, opened so that a worker's connection gives up a server that is silent for a third of the lease time.
    `heard` is called for each part of a long answer of the broker.

    A client may wait for two minutes (`redis_socket_timeout`); a worker has lost its leases by then. A shorter timeout of
    the user's own stays.
    """
    longest = min(LONGEST_S, max(SHORTEST_S, lease_s / 3))
    given = stores.options.socket_timeout_s
    timeout_s = longest if given is None else min(given, longest)
    return replace(
        stores,
        options=replace(stores.options, socket_timeout_s=timeout_s, heard=heard),
        results_options=replace(stores.results_options, socket_timeout_s=timeout_s),
    )
