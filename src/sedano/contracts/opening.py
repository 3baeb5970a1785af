"""How a driver is opened: what every driver package exports under the same names.

    open_broker(url, options) -> Broker          open_results(url, options) -> Results
    open_coordination(url, options) -> Coordination    open_bus(url, options) -> Bus
    open_schedules(url, options, space) -> Schedules   the entries of one space
    shares_store(broker_url, results_url) -> bool  may settle write results in the same step?

A driver exports those that it can honour (`SCHEMES` names the URL schemes). Opening does not connect where the first use
can; a wrong URL raises `ImproperlyConfigured` at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from sedano.clock import SYSTEM_CLOCK, Clock


class OpenOptions(msgspec.Struct, frozen=True):
    """Plain arguments for a driver; rooms below `app` never see the settings object.

    `results_url` is given to a broker whose settle is to write results itself. `transport` and `results_transport` are
    `broker_transport_options` and `result_backend_transport_options`. `ssl` is `broker_use_ssl` or `redis_backend_use_ssl`.
    `control_exchange` names the mailbox, `event_exchange` where events go. `accept_polling` is for tests: no push, poll
    only. `heard` is called when another part of a long answer has arrived: whoever waits for the rest of it is alive.
    """

    results_url: str | None = None
    transport: Mapping[str, Any] = msgspec.field(default_factory=dict)
    results_transport: Mapping[str, Any] = msgspec.field(default_factory=dict)
    ssl: bool | Mapping[str, Any] = False
    connect_timeout_s: float = 4.0
    socket_timeout_s: float | None = 120.0
    control_exchange: str = "celery"
    event_exchange: str = "celeryev"
    clock: Clock = SYSTEM_CLOCK
    accept_polling: bool = False
    heard: Callable[[], None] | None = None
