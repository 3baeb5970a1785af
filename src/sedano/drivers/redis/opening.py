"""The ways in (`contracts/opening.py`), but for the bus: see there."""

from __future__ import annotations

import functools

from sedano.contracts import OpenOptions
from sedano.drivers.redis.address import address_of, is_same_server
from sedano.drivers.redis.broker import RedisBroker
from sedano.drivers.redis.coordination import RedisCoordination
from sedano.drivers.redis.keys import keys_of, result_keys_of
from sedano.drivers.redis.results import RedisResults
from sedano.drivers.redis.schedules import RedisSchedules
from sedano.drivers.redis.sentinel import new_connection
from sedano.drivers.redis.turns import ResultWriter
from sedano.exceptions import BrokerUnavailable, ResultsUnavailable
from sedano.log import get_logger

SHORTEST_VISIBILITY_S = 30
VISIBILITY_TIMEOUT_S = 3600.0

logger = get_logger("celery.redis")


def open_broker(url: str, options: OpenOptions) -> RedisBroker:
    """A broker; with `options.results_url` naming a database of the same server, its settle writes results there."""
    address = address_of(url, options.transport, options)
    keys = keys_of(options.transport, address.db, is_sentinel=address.sentinels is not None)
    results_db, writer = address.db, None
    if options.results_url is not None:
        results = address_of(options.results_url, options.results_transport, options)
        results_db = results.db
        masters = {one.sentinels.master_name if one.sentinels else "" for one in (address, results)}
        if is_same_server(url, options.results_url) and len(masters) == 1:
            writer = _writer(options)
    timeout_s = float(options.transport.get("visibility_timeout") or VISIBILITY_TIMEOUT_S)
    if timeout_s < SHORTEST_VISIBILITY_S:
        _warn_of_impatience(address.shown, timeout_s)
    return RedisBroker(
        new_connection(address, BrokerUnavailable, options.heard),
        keys,
        options.clock,
        writer=writer,
        results_db=results_db,
        visibility_timeout_s=timeout_s,
        is_polling=options.accept_polling,
    )


def open_results(url: str, options: OpenOptions) -> RedisResults:
    address = address_of(url, options.results_transport, options)
    return RedisResults(
        new_connection(address, ResultsUnavailable), result_keys_of(options.results_transport), _writer(options)
    )


def open_coordination(url: str, options: OpenOptions) -> RedisCoordination:
    address = address_of(url, options.transport, options)
    keys = keys_of(options.transport, address.db, is_sentinel=address.sentinels is not None)
    return RedisCoordination(new_connection(address, BrokerUnavailable), keys)


def open_schedules(url: str, options: OpenOptions, space: str) -> RedisSchedules:
    address = address_of(url, options.transport, options)
    keys = keys_of(options.transport, address.db, is_sentinel=address.sentinels is not None)
    return RedisSchedules(new_connection(address, BrokerUnavailable), keys, options.clock, space)


@functools.cache
def _warn_of_impatience(shown: str, timeout_s: float) -> None:
    """Once a process: this option is what Celery workers of the same project run with."""
    logger.warning(
        "visibility_timeout=%gs on %s: a Celery worker with less than %d s takes back what Sedano is still running, "
        "and it runs twice. Raise it.",
        timeout_s,
        shown,
        SHORTEST_VISIBILITY_S,
    )


def _writer(options: OpenOptions) -> ResultWriter:
    is_ordered = bool(options.results_transport.get("result_chord_ordered", True))
    return ResultWriter(result_keys_of(options.results_transport), is_ordered=is_ordered)
