"""Workflows that Celery's workers run are looked at and cancelled; those that Celery sent are shown as far as results tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop.peers import Place, engine
from tests.servers import RedisServer

pytestmark = [pytest.mark.celery, pytest.mark.redis]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with RedisServer() as server:
        place = Place(server, 0, tmp_path)
        try:
            yield place
        finally:
            place.close()


def test_given_a_worker_of_celery_when_a_workflow_is_cancelled_then_it_runs_no_more_of_it(place: Place) -> None:
    place.ready(engine("celery5.7"), "c@fleet", concurrency=1)
    ours, theirs = place.peer(engine("sedano")), place.peer(engine("celery5.7"))
    held, middle, last = ours.ask(
        """
        result = (hold.s("gate") | same.s() | mark.si("ran")).apply_async()
        result.parent.parent.id, result.parent.id, result.id
        """
    )
    place.until_started([held])
    assert ours.ask("app.workflows.get(last).summary.total", last=last) == 3
    assert ours.ask("app.workflows.cancel(last).over", last=last) == 0
    assert ours.ask("outcome(AsyncResult(id))", id=last)[:2] == ("raised", "TaskRevokedError")
    place.open_gate("gate")
    assert ours.ask("outcome(AsyncResult(id))", id=held) == ("value", "celery")
    assert ours.ask("outcome(AsyncResult(id))", id=middle)[:2] == ("raised", "TaskRevokedError")
    assert theirs.ask("outcome(same.delay(5))") == ("value", 5)
    assert [ours.ask("AsyncResult(id).state", id=id_) for id_ in (held, middle, last)] == ["SUCCESS", "REVOKED", "REVOKED"]
    assert last not in place.ledger.starts()

    sent_by_celery = theirs.ask(
        """
        from celery import chain
        result = chain(same.s(1), same.s(), same.s()).apply_async()
        result.get(timeout=PATIENCE)
        result.id
        """
    )
    text = ours.ask("until(lambda: (text := app.workflows.show(id)).count('SUCCESS') == 3 and text)", id=sent_by_celery)
    assert "no record is kept" in text
    assert sent_by_celery in text
