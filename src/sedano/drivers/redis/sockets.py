"""Sockets to a server: TCP, Unix, TLS, with the timeouts and keepalive of an address."""

from __future__ import annotations

import math
import socket
import struct
import sys
from typing import TYPE_CHECKING, TypeGuard

from sedano.drivers.redis.address import Address, Server
from sedano.drivers.tls import new_context

if TYPE_CHECKING:
    import ssl


def open_socket(address: Address, server: Server) -> socket.socket:
    """A connected socket. Raises OSError."""
    if server.path:
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            stream.settimeout(address.connect_timeout_s)
            stream.connect(server.path)
        except OSError as error:
            stream.close()
            raise OSError(error.errno, f"{error.strerror or error} ({server.path})") from error
    else:
        stream = socket.create_connection((server.host, server.port), address.connect_timeout_s)
    try:
        return _prepare(stream, address, server)
    except BaseException:
        stream.close()
        raise


def _prepare(stream: socket.socket, address: Address, server: Server) -> socket.socket:
    if not server.path:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.keepalive:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in address.keepalive_options.items():
                stream.setsockopt(socket.IPPROTO_TCP, option, value)
    if address.tls is not None:
        stream = new_context(address.tls, "Redis").wrap_socket(stream, server_hostname=server.host or None)
        stream.settimeout(address.socket_timeout_s)
        return stream
    if type(stream).__module__ != "socket":  # gevent's or eventlet's, to which the kernel's timeouts mean nothing
        stream.settimeout(address.socket_timeout_s)
        return stream
    # The kernel's own timeouts save the poll before every read and write that Python's would make.
    stream.settimeout(None)
    if address.socket_timeout_s is not None:
        set_limit(stream, address.socket_timeout_s)
    return stream


def is_tls(stream: socket.socket) -> TypeGuard[ssl.SSLSocket]:
    """Whether it is a stream of `open_socket` with TLS. Without the module `ssl`, which is slow to import, there is none."""
    module = sys.modules.get("ssl")
    return module is not None and isinstance(stream, module.SSLSocket)


def set_limit(stream: socket.socket, seconds: float) -> None:
    """How long a read or write waits until any bytes move. For a stream of `open_socket` that has a limit."""
    if is_tls(stream):
        stream.settimeout(seconds)
        return
    fraction, whole = math.modf(seconds)
    limit = struct.pack("ll", int(whole), int(fraction * 1_000_000))
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
