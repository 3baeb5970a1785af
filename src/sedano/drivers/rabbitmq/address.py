"""Where a RabbitMQ server is and how to speak to it: URLs and options as one value. No I/O.

    amqp://[user[:password]@][host[:port]][/vhost]     TCP; also pyamqp://, librabbitmq://
    amqps://...                                        TLS
    amqp://one//;amqp://two//                          several servers of one cluster, tried in this order

The virtual host is what stands behind the slash after the host, `/` when nothing does: `amqp://h`, `amqp://h/` and
`amqp://h//` are the same. What the query says overrides the options, as in Celery.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from sedano.contracts import OpenOptions
from sedano.exceptions import ImproperlyConfigured
from sedano.log import redact_url

SCHEMES = ("amqp", "amqps", "pyamqp", "librabbitmq")
LOGIN_METHODS = ("PLAIN", "AMQPLAIN", "EXTERNAL")
HEARTBEAT_S = 120.0
FRAME_MAX_BYTES = 131072
CHANNEL_MAX = 65535

_PORT, _TLS_PORT = 5672, 5671
_TLS_OPTIONS = (
    "cert_reqs",
    "ca_certs",
    "ca_path",
    "ca_data",
    "certfile",
    "keyfile",
    "password",
    "check_hostname",
    "ciphers",
    "server_hostname",
    "version",
)
_TRUE = ("1", "true", "yes", "on")


class Server(msgspec.Struct, frozen=True):
    host: str = "localhost"
    port: int = _PORT


class Address(msgspec.Struct, frozen=True):
    """Everything that a connection needs. `shown` is the URL without its password; `tls` None is a plain connection.

    The timeouts are what the URL and the options ask for; a connection is given its own. `login_method` is one of
    `LOGIN_METHODS`, or empty for the first of them that the server offers.
    """

    shown: str
    servers: tuple[Server, ...] = (Server(),)
    user: str = "guest"
    password: str = "guest"  # noqa: S105 - RabbitMQ's own, which works from the same machine only
    vhost: str = "/"
    tls: Mapping[str, Any] | None = None
    login_method: str = ""
    heartbeat_s: float = HEARTBEAT_S
    frame_max_bytes: int = FRAME_MAX_BYTES
    channel_max: int = CHANNEL_MAX
    connect_timeout_s: float | None = None
    socket_timeout_s: float | None = None

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"


def address_of(url: str, transport: Mapping[str, Any], options: OpenOptions) -> Address:
    """The address that `url` and the options mean. Raises `ImproperlyConfigured` when they mean none."""
    try:
        parsed = [_parse(one) for one in re.split(r";(?=[A-Za-z]+://|$)", url) if one]
        if not parsed:
            raise ValueError("it names no server")
        return _address(redact_url(url), parsed, transport, options)
    except ValueError as error:
        form = "amqp://user:password@host:5672/vhost or amqps://"
        raise ImproperlyConfigured(f"{redact_url(url)!r} is no URL of a RabbitMQ server ({error}): write {form}") from error


def is_same_server(first: str, second: str) -> bool:
    """Whether two URLs name one server, account and virtual host."""

    def identity(url: str) -> object:
        parsed = [_parse(one) for one in re.split(r";(?=[A-Za-z]+://|$)", url) if one]
        return sorted((_loopback(one.host), one.port, one.user or "guest", one.vhost) for one in parsed)

    try:
        return bool(first and second) and identity(first) == identity(second)
    except ValueError:
        return False


class _Parsed(msgspec.Struct, frozen=True):
    is_tls: bool
    host: str
    port: int
    user: str | None
    password: str | None
    vhost: str
    query: dict[str, str]


def _parse(url: str) -> _Parsed:
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in SCHEMES:
        raise ValueError(f"scheme {scheme!r} is none of {', '.join(SCHEMES)}")
    parts = urlsplit(url)
    if parts.fragment:
        raise ValueError("a # in it must be written %23")
    is_tls = scheme == "amqps"
    return _Parsed(
        is_tls=is_tls,
        host=unquote(parts.hostname or "localhost"),
        port=parts.port or (_TLS_PORT if is_tls else _PORT),
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        vhost=unquote(parts.path.removeprefix("/")) or "/",
        query=dict(parse_qsl(parts.query)),
    )


def _address(shown: str, parsed: list[_Parsed], transport: Mapping[str, Any], options: OpenOptions) -> Address:
    first = parsed[0]
    given: dict[str, Any] = {**transport, **first.query}
    return Address(
        shown=shown,
        servers=tuple(Server(one.host, one.port) for one in parsed),
        user=first.user or "guest",
        password="guest" if first.password is None else first.password,
        vhost=first.vhost,
        tls=_tls(first, given, options),
        login_method=_login_method(given.get("login_method") or options.login_method),
        heartbeat_s=_heartbeat(given.get("heartbeat"), options.heartbeat_s),
        frame_max_bytes=_whole(given, "frame_max", FRAME_MAX_BYTES),
        channel_max=_whole(given, "channel_max", CHANNEL_MAX),
        connect_timeout_s=_seconds(given, "connect_timeout") or options.connect_timeout_s,
        socket_timeout_s=_seconds(given, "read_timeout") or options.socket_timeout_s,
    )


def _tls(first: _Parsed, given: Mapping[str, Any], options: OpenOptions) -> Mapping[str, Any] | None:
    wanted = dict(options.ssl) if isinstance(options.ssl, Mapping) else {}
    for name in _TLS_OPTIONS:
        value = given.get("ssl_" + name)
        if value is not None:
            wanted[name] = value
    asked = given.get("ssl")
    if isinstance(asked, Mapping):
        wanted = {**wanted, **asked}
    elif isinstance(asked, str):
        asked = asked.lower() in _TRUE
    if first.is_tls or options.ssl or asked:
        return wanted
    if any("ssl_" + name in first.query for name in _TLS_OPTIONS):
        raise ValueError("ssl_ parameters need the scheme amqps://")
    return None


def _login_method(value: object) -> str:
    method = str(value or "").upper()
    if method and method not in LOGIN_METHODS:
        raise ValueError(f"login_method {value!r} is none of {', '.join(LOGIN_METHODS)}")
    return method


def _heartbeat(value: object, otherwise_s: float | None) -> float:
    seconds = (HEARTBEAT_S if otherwise_s is None else otherwise_s) if value in (None, "") else float(str(value))
    if not 0 <= seconds <= 65535:
        raise ValueError(f"heartbeat={value!r} is no number of seconds")
    return seconds


def _seconds(given: Mapping[str, Any], name: str) -> float | None:
    value = given.get(name)
    return None if value in (None, "", "None") else float(str(value))


def _whole(given: Mapping[str, Any], name: str, otherwise: int) -> int:
    value = given.get(name)
    return otherwise if value in (None, "", 0, "0") else int(value)


def _loopback(host: str) -> str:
    return "localhost" if host in ("127.0.0.1", "::1") else host
