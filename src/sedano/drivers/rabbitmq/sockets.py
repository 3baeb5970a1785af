"""Sockets to a server: TCP, or TLS over it. They never block: whoever reads and writes them waits for them."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, TypeGuard

from sedano.drivers.rabbitmq.address import Address, Server
from sedano.drivers.tls import new_context

if TYPE_CHECKING:
    import ssl


def open_socket(address: Address, server: Server, timeout_s: float) -> socket.socket:
    """A connected socket that does not block, the handshake of TLS done. Raises OSError, `ImproperlyConfigured`."""
    stream = socket.create_connection((server.host, server.port), timeout_s)
    try:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if address.tls is not None:
            name = address.tls.get("server_hostname") or server.host
            stream = new_context(address.tls, "RabbitMQ").wrap_socket(stream, server_hostname=name)
        stream.setblocking(False)
    except BaseException:
        stream.close()
        raise
    return stream


def is_tls(stream: socket.socket) -> TypeGuard[ssl.SSLSocket]:
    """Whether it speaks TLS. Without the module `ssl`, which is slow to import, nothing does."""
    module = sys.modules.get("ssl")
    return module is not None and isinstance(stream, module.SSLSocket)
