"""`sedano purge` on each store that a command can reach: what goes, what stays, what it says."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.apps import MakeApp, app, make_app
from tests.servers import is_left_out, redis_server
from tests.services.cli.conftest import Shell

from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import Outgoing, QueueSpec
from sedano.testing.contracts.messages import message

__all__ = ["app", "make_app", "redis_server"]


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/calls.db"
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    server: Any = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    return str(server.url)


def test_purge_drops_what_waits_in_every_priority_and_names_what_stays(shell: Shell, make_app: MakeApp, url: str) -> None:
    stores = make_app(broker=url, backend="disabled://").stores
    with closing(stores.open_broker()) as broker:
        broker.declare([QueueSpec(name, name, "direct", name) for name in ("celery", "mail")])
        later = SYSTEM_CLOCK.wall() + 3600
        waits = [
            Outgoing(message(f"{queue}{priority}", queue=queue), queue, priority=priority)
            for queue in ("celery", "mail")
            for priority in (0, 3, 9)
        ]
        parked = [Outgoing(message(f"p{number}"), "celery", due=later, parked="t") for number in range(2)]
        broker.publish([*waits, Outgoing(message("later"), "celery", due=later), *parked])

        done = shell("purge", "-f", CELERY_BROKER_URL=url)
        assert done.stdout == "Purged 3 messages from 1 known task queue.\n"
        assert done.stderr == (
            "1 delayed and 2 parked stay: `sedano handback` puts them into their queues, to be purged there.\n"
        )
        (celery, mail) = broker.depth(["celery", "mail"])
        assert (celery.ready, celery.delayed, celery.parked, mail.ready) == (0, 1, 2, 3)

        assert shell("handback", CELERY_BROKER_URL=url).stdout.startswith("Handed back 3 calls")
        rest = shell("purge", "-f", "-Q", "celery,mail", "--json", CELERY_BROKER_URL=url)
        assert json.loads(rest.stdout) == {"purged": 6, "waiting": 0, "queues": {"celery": 3, "mail": 3}}
        assert rest.stderr == ""
