"""The memory driver with a switch: a broker that goes away, loses answers, is full, or refuses one settlement.

Everything that is not broken is the real memory store. Opened by the URL scheme `memory` while `breakages` are installed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sedano.contracts import BeginRule, Broker, OpenOptions, Results, Standing, TurnReply
from sedano.drivers import memory
from sedano.drivers.memory import open_bus, open_coordination, shares_store
from sedano.exceptions import BrokerUnavailable, ResultsUnavailable, StoreFull


@dataclass
class Breakages:
    """What is to go wrong, and what was seen. Counters count down to nothing."""

    turns: list[dict[str, Any]] = field(default_factory=list)
    answers_to_lose: int = 0
    firsts_to_lose: int = 0
    mistakes_for: Any = None  # the standing in which every call is begun, whatever its task
    reconnects_to_fail: int = 0
    away: bool = False
    results_away: bool = False
    full_for: int = 0
    refuses: Callable[[Any], Exception | None] = lambda settlement: None
    at_reconnect: Callable[[], object] = lambda: None
    waiting: threading.Event = field(default_factory=threading.Event)


breakages = Breakages()


class BreakableBroker:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def __getattr__(self, name: str) -> Any:
        if breakages.away:
            raise BrokerUnavailable("Connection refused")
        return getattr(self._broker, name)

    def turn(self, lease: Any, **parts: Any) -> TurnReply:
        if breakages.away:
            raise BrokerUnavailable("Connection refused")
        settled = list(parts.get("settle", ()))
        if breakages.full_for and settled and any(settlement.result is not None for settlement in settled):
            breakages.full_for -= 1
            raise StoreFull("no room")
        for settlement in settled:
            if (error := breakages.refuses(settlement)) is not None:
                raise error
        rule = parts.get("begin_new")
        if breakages.mistakes_for is not None and rule is not None:
            is_early = breakages.mistakes_for is Standing.BEGUN_EARLY
            parts["begin_new"] = BeginRule(is_early, most=1)
        reply = self._broker.turn(lease, **parts)
        breakages.turns.append({**parts, "settle": settled, "reply": reply})
        if breakages.firsts_to_lose and parts.get("begin_new") is not None and reply.reserved:
            breakages.firsts_to_lose -= 1
            raise BrokerUnavailable("Connection reset by peer")
        if breakages.answers_to_lose and settled:
            breakages.answers_to_lose -= 1
            raise BrokerUnavailable("Connection reset by peer")
        return reply

    def wait(self, *args: Any) -> None:
        if breakages.away:
            raise BrokerUnavailable("Connection refused")
        breakages.waiting.set()
        self._broker.wait(*args)

    def reconnect(self) -> None:
        breakages.at_reconnect()
        if breakages.reconnects_to_fail:
            breakages.reconnects_to_fail -= 1
            raise BrokerUnavailable("Connection refused")
        breakages.away = False
        self._broker.reconnect()

    def close(self) -> None:
        self._broker.close()


class BreakableResults:
    def __init__(self, results: Results) -> None:
        self._results = results

    def __getattr__(self, name: str) -> Any:
        if breakages.results_away and name != "close":
            raise ResultsUnavailable("Connection refused")
        return getattr(self._results, name)


def open_broker(url: str, options: OpenOptions) -> Any:
    return BreakableBroker(memory.open_broker(url, options))


def open_results(url: str, options: OpenOptions) -> Any:
    return BreakableResults(memory.open_results(url, options))


__all__ = ["Breakages", "breakages", "open_broker", "open_bus", "open_coordination", "open_results", "shares_store"]
