"""What a chord costs, in counts: commands of Redis for each header task, whatever the size. Never in seconds."""

from __future__ import annotations

from typing import Any

import pytest
from tests.apps import MakeApp
from tests.servers import RedisServer

from sedano import chord
from sedano.testing.worker import start_worker

PATIENCE_S = 120.0
# Counted when this was written: 4.4 a header task, and 17 when each part looked after its chord for itself. The rest is room
# for a busy machine, which has more turns: what is common to the parts of a turn goes out once for each turn.
MOST_COMMANDS = 11.0


@pytest.mark.redis
def test_given_a_chord_when_it_runs_then_each_header_task_costs_redis_a_few_commands(
    redis_server: RedisServer, make_app: MakeApp
) -> None:
    redis_server.command("FLUSHALL")
    app = make_app(broker=redis_server.url, backend=redis_server.url)
    app.conf.worker_window_time = 10.0

    @app.task(name="proj.one")
    def one() -> int:
        return 1

    @app.task(name="proj.total")
    def total(values: Any) -> Any:
        return sum(values)

    def commands(size: int) -> float:
        result = chord([one.si() for _ in range(size)], total.s())()
        with start_worker(app):
            assert result.get(timeout=PATIENCE_S) == size
        lines = redis_server.command("INFO", "commandstats").decode().splitlines()
        return sum(float(line.split("calls=")[1].split(",")[0]) for line in lines if line.startswith("cmdstat_"))

    commands(10)
    redis_server.command("CONFIG", "RESETSTAT")
    few = commands(200)
    many = commands(800) - few
    assert (many - few) / 600 <= MOST_COMMANDS
