"""How a driver is opened: what every driver package exports under the same names.

    open_broker(url, options) -> Broker          open_results(url, options) -> Results
    open_coordination(url, options) -> Coordination    open_bus(url, options) -> Bus
    open_schedules(url, options, space) -> Schedules   the entries of one space
    shares_store(broker_url, results_url) -> bool  may settle write results in the same step?
    fill(delivery) -> None                         reads a delivery that its broker has not read; see below

A broker whose deliveries pass through the supervisor (`Source.SUPERVISOR`) may leave the reading to the process that runs the
call: its deliveries have `message` None and `unreadable` "". Then the driver exports `fill`, which reads `raw` and sets
`message`, `redelivered` and `deliveries`, or `unreadable` and nothing else. It never raises, and needs no connection.

A driver exports those that it can honour (`SCHEMES` names the URL schemes). Opening does not connect where the first use
can; a wrong URL raises `ImproperlyConfigured` at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from sedano.clock import SYSTEM_CLOCK, Clock


class AmqpOptions(msgspec.Struct, frozen=True):
    """What a broker with exchanges is told besides: settings of the same names, times in seconds, None where it is left out.

    `delayed_queue_type` is `broker_native_delayed_delivery_queue_type`. `result_persistent`, `result_expires_s` and
    `result_serializer` are for results that are sent to their callers (rpc://); `reply_queue` is where those to this process
    come, "" for a process that makes no calls. `records_begun`: what a node begins early is written down, for others to record
    it as lost when the node dies; it makes sense where results are kept in a store that all nodes share. They see it
    `record_ttl_s` after it was written, if the node is gone.
    """

    event_queue_prefix: str = "celeryev"
    event_queue_expires_s: float | None = 60.0
    event_queue_ttl_s: float | None = 5.0
    event_queue_durable: bool = False
    event_queue_exclusive: bool = True
    control_queue_expires_s: float | None = 10.0
    control_queue_ttl_s: float | None = 300.0
    control_queue_durable: bool = False
    control_queue_exclusive: bool = True
    result_persistent: bool = False
    result_expires_s: float | None = 86400.0
    delayed_queue_type: str = "quorum"
    records_begun: bool = False
    record_ttl_s: float = 20.0
    result_serializer: str = "json"
    reply_queue: str = ""


class OpenOptions(msgspec.Struct, frozen=True):
    """Plain arguments for a driver; rooms below `app` never see the settings object.

    `results_url` is given to a broker whose settle is to write results itself. `transport` and `results_transport` are
    `broker_transport_options` and `result_backend_transport_options`. `ssl` is `broker_use_ssl` or `redis_backend_use_ssl`.
    `control_exchange` names the mailbox, `event_exchange` where events go. `accept_polling` is for tests: no push, poll
    only. `heard` is called when another part of a long answer has arrived: whoever waits for the rest of it is alive.
    `heartbeat_s` (None: the driver's default, 0: none) and `login_method` are `broker_heartbeat` and `broker_login_method`.
    With `unread`, deliveries come without their `message`: whoever they are handed on to reads `raw`.
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
    heartbeat_s: float | None = None
    login_method: str | None = None
    unread: bool = False
    amqp: AmqpOptions = AmqpOptions()
