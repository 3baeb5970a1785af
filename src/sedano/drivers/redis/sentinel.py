"""Finding the master through sentinels, and opening a connection of either kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from sedano.contracts import OpenOptions
from sedano.drivers.redis.address import Address, Server, address_of
from sedano.drivers.redis.connection import Connection
from sedano.exceptions import OperationalError


def new_connection(
    address: Address, unavailable: type[OperationalError], heard: Callable[[], None] | None = None
) -> Connection:
    """A connection that is not made yet; with sentinels, each connect asks them for the master of the hour."""
    if address.sentinels is None:
        return Connection(address, unavailable, heard=heard)
    return Connection(address, unavailable, lambda: find_master(address, unavailable), heard=heard)


def find_master(address: Address, unavailable: type[OperationalError]) -> Server:
    """The master that the first sentinel that answers names. Raises `unavailable` when none does."""
    sentinels = address.sentinels
    assert sentinels is not None
    refusals: list[str] = []
    for server in sentinels.servers:
        connection = Connection(_address_of_sentinel(address, server), unavailable)
        try:
            found = connection.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinels.master_name)
        except OperationalError as error:
            refusals.append(str(error))
            continue
        finally:
            connection.close()
        if found is not None:
            return Server(found[0].decode(), int(found[1]))
        refusals.append(f"sentinel {server.host}:{server.port} knows no master {sentinels.master_name!r}")
    raise unavailable(f"no sentinel of {address.shown} names a master: {'; '.join(refusals)}")


def _address_of_sentinel(address: Address, server: Server) -> Address:
    """Sentinels have accounts and timeouts of their own (`sentinel_kwargs`)."""
    assert address.sentinels is not None
    options: dict[str, Any] = dict(address.sentinels.options)
    own = address_of(f"redis://{server.host}:{server.port}", options, OpenOptions(ssl=bool(options.get("ssl"))))
    shown = f"sentinel {server.host}:{server.port}"
    return msgspec.structs.replace(own, shown=shown, connect_timeout_s=min(own.connect_timeout_s, address.connect_timeout_s))
