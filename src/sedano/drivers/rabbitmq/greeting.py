"""How a connection begins: who we are, who we are for, which limits hold. No I/O of its own."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from sedano.drivers.rabbitmq import methods
from sedano.drivers.rabbitmq.address import Address
from sedano.drivers.rabbitmq.errors import AccessRefused, Malformed
from sedano.drivers.rabbitmq.methods import Close, Method, Start, Tune
from sedano.drivers.rabbitmq.tables import encode_table
from sedano.exceptions import BrokerUnavailable
from sedano.version import __version__

_Kind = TypeVar("_Kind", bound=Method)

_ACCESS_REFUSED, _NOT_ALLOWED = 403, 530
_PREFERRED = ("PLAIN", "AMQPLAIN", "EXTERNAL")
_CAPABILITIES = {
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "publisher_confirms": True,
    "basic.nack": True,
    "authentication_failure_close": True,
    "exchange_exchange_bindings": True,
}


class Terms(msgspec.Struct, frozen=True):
    """What was agreed. `heartbeat_s` 0: no heartbeats."""

    server_properties: dict[str, Any]
    channel_max: int
    frame_max: int
    heartbeat_s: float


def greet(address: Address, name: str, write: Callable[[bytes], None], answer: Callable[[], tuple[int, Method]]) -> Terms:
    """Say hello, log in, agree on limits, open the virtual host.

    `answer` gives the next method of the server. Raises `AccessRefused`, `BrokerUnavailable`, `Malformed` and what `answer`
    raises.
    """
    write(methods.PROTOCOL_HEADER)
    try:
        start = _expect(address, answer(), Start)
    except TimeoutError:
        raise
    except (EOFError, OSError) as error:
        raise EOFError(f"{error}, before the server said anything; {_hint(address)}") from error
    except Malformed as error:
        raise Malformed(f"it does not speak AMQP 0-9-1 ({error})") from error
    if start.version != (0, 9):
        raise Malformed(f"it speaks AMQP {start.version[0]}.{start.version[1]}, not 0-9-1")
    mechanism = _mechanism(address, start.mechanisms)
    write(methods.start_ok(_properties(name), mechanism, _response(mechanism, address)))
    try:
        tune = _expect(address, answer(), Tune)
    except EOFError as error:
        raise EOFError(f"{error}, when {address.user!r} had logged in by {mechanism}") from error
    terms = _terms(address, start, tune)
    write(methods.tune_ok(terms.channel_max, terms.frame_max, round(terms.heartbeat_s)))
    write(methods.open_connection(address.vhost))
    _expect(address, answer(), methods.Ok)
    return terms


def _expect(address: Address, answer: tuple[int, Method], kind: type[_Kind]) -> _Kind:
    method, found = answer
    if isinstance(found, kind):
        return found
    if isinstance(found, Close):
        text = f"{found.code} {found.text}"
        if found.code in (_ACCESS_REFUSED, _NOT_ALLOWED):
            raise AccessRefused(f"{address.shown} refuses {address.user!r} on the virtual host {address.vhost!r}: {text}")
        raise BrokerUnavailable(f"{address.shown} closed the connection: {text}")
    raise Malformed(f"method {method >> 16}.{method & 0xFFFF} where {kind.__name__.lower()} was due")


def _hint(address: Address) -> str:
    if address.tls is None:
        return "does this port expect TLS (amqps://)?"
    has_certificate = address.tls.get("certfile") or address.tls.get("ssl_certfile") or address.tls.get("context")
    return "does it trust our certificate?" if has_certificate else "does it ask for a certificate of ours (certfile, keyfile)?"


def _mechanism(address: Address, offered: tuple[str, ...]) -> str:
    wanted = (address.login_method,) if address.login_method else _PREFERRED
    for mechanism in wanted:
        if mechanism in offered:
            return mechanism
    raise AccessRefused(f"{address.shown} offers the login methods {', '.join(offered)}, not {' or '.join(wanted)}")


def _response(mechanism: str, address: Address) -> bytes:
    if mechanism == "PLAIN":
        return f"\0{address.user}\0{address.password}".encode()
    if mechanism == "AMQPLAIN":
        return encode_table({"LOGIN": address.user, "PASSWORD": address.password})[4:]
    return b""  # EXTERNAL: the certificate says who it is


def _terms(address: Address, start: Start, tune: Tune) -> Terms:
    frame_max = min(address.frame_max_bytes, tune.frame_max or address.frame_max_bytes)
    if frame_max < methods.LEAST_FRAME_BYTES:
        raise Malformed(f"frames of at most {frame_max} bytes; {methods.LEAST_FRAME_BYTES} are the least")
    wish = 0 if not address.heartbeat_s else max(1, round(address.heartbeat_s))
    return Terms(
        server_properties=start.properties,
        channel_max=min(address.channel_max, tune.channel_max or address.channel_max),
        frame_max=frame_max,
        heartbeat_s=float(min(wish, tune.heartbeat_s) if tune.heartbeat_s else wish),
    )


def _properties(name: str) -> dict[str, Any]:
    named = {"connection_name": name} if name else {}
    return {
        "product": "Sedano",
        "version": __version__,
        "platform": f"{platform.python_implementation()} {platform.python_version()}",
        "capabilities": _CAPABILITIES,
        **named,
    }
