"""A header task adds calls to the chord that it is a part of."""

from __future__ import annotations

from typing import Any

import pytest
from tests.apps import MakeApp
from tests.servers import RedisServer
from tests.services.canvas.conftest import World

from sedano import chord
from sedano.testing.proxy import Proxy

PATIENCE_S = 60.0


def test_given_a_header_task_that_adds_others_when_all_have_run_then_the_body_gets_their_results_too(world: World) -> None:
    @world.app.task(bind=True, name="proj.split")
    def split(self: Any, number: int) -> int:
        if number > 1:
            self.add_to_chord(split.si(number // 2))
            self.add_to_chord(split.si(number - number // 2), lazy=True).delay()
        return number

    result = chord([split.si(4), world.same.s(100)], world.total.s())()
    assert result.get(timeout=PATIENCE_S) == 100 + 4 + 2 + 2 + 1 + 1 + 1 + 1


@pytest.mark.redis
def test_given_an_answer_that_is_lost_when_a_chord_grows_then_it_has_grown_once(
    redis_server: RedisServer, make_app: MakeApp
) -> None:
    redis_server.command("FLUSHALL")
    with Proxy(str(redis_server.socket)) as proxy:
        app = make_app(broker=redis_server.url, backend=f"redis://{proxy.host}:{proxy.port}/0")
        app.backend.start_chords({"g": 2})
        proxy.reset_counts()
        proxy.cut_after(0)
        app.backend.grow_chord("g", 1, "the new call")
        assert proxy.traffic.connections == 1, "its answer was lost, and it was asked again"
        assert redis_server.command("GET", "celery-taskset-meta-g.t") == b"1"
