"""The first words on a connection: protocol version, password, name, version check, database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sedano.drivers.redis.address import Address
from sedano.drivers.redis.wire import Argument, ErrorReply, Reply
from sedano.exceptions import ImproperlyConfigured, OperationalError

OLDEST = (6, 2)
"""ZRANGE BYSCORE, ZADD GT and RPOP with a count are from 6.2; Kombu 5.7 needs it too."""

Ask = Callable[..., Reply]


def greet(address: Address, ask: Ask, unavailable: type[OperationalError]) -> int:
    """Open the conversation; returns the protocol spoken, 3 where the server has it.

    Raises `unavailable` when the server refuses us, `ImproperlyConfigured` when it is too old.
    """
    protocol, facts = _hello(address, ask)
    if isinstance(facts, ErrorReply):
        raise unavailable(f"{address.shown} refused the connection: {facts}") from facts
    _check_version(address, str(_text(facts.get(b"server", b"redis"))), str(_text(facts.get(b"version", b""))))
    for command in _introductions(address):
        reply = ask(*command)
        if isinstance(reply, ErrorReply):
            raise unavailable(f"{address.shown} refused {command[0]}: {reply}") from reply
    if address.sentinels is not None:
        role = ask("ROLE")
        if isinstance(role, ErrorReply) or role[0] != b"master":
            raise unavailable(f"{address.shown}: the sentinels name a server that is no master (any more)")
    return protocol


def _hello(address: Address, ask: Ask) -> tuple[int, Any]:
    account = _account(address)
    reply = ask("HELLO", 3, *(("AUTH", *account) if account else ()))
    if not isinstance(reply, ErrorReply):
        return 3, reply
    if reply.code not in ("NOPROTO", "ERR"):
        return 3, reply
    # A proxy that speaks only the old protocol.
    if account:
        reply = ask("AUTH", *account)
        if isinstance(reply, ErrorReply):
            return 2, reply
    reply = ask("INFO", "server")
    return 2, reply if isinstance(reply, ErrorReply) else _facts_of_info(reply)


def _account(address: Address) -> tuple[Argument, ...]:
    if address.credentials is not None:
        account = tuple(address.credentials.get_credentials())
        return account if len(account) == 2 else ("default", *account)
    if address.password or address.username:
        return address.username or "default", address.password
    return ()


def _introductions(address: Address) -> list[tuple[str | int, ...]]:
    commands: list[tuple[str | int, ...]] = []
    if address.client_name:
        commands.append(("CLIENT", "SETNAME", address.client_name))
    if address.db:
        commands.append(("SELECT", address.db))
    return commands


def _facts_of_info(info: bytes) -> dict[bytes, bytes]:
    lines = [line.partition(b":") for line in info.splitlines()]
    facts = {name: value for name, _, value in lines}
    return {b"server": b"redis", b"version": facts.get(b"redis_version", b"")}


def _check_version(address: Address, server: str, version: str) -> None:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if server == "redis" and numbers and numbers < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise ImproperlyConfigured(f"{address.shown} is Redis {version}; Sedano needs {needed} or newer (or Valkey)")


def _text(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
