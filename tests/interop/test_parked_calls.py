"""A Sedano worker that does not know a task, and a Celery worker on the same queue that does."""

from __future__ import annotations

import pytest
from tests.interop import environments
from tests.interop.peers import Place, engine

pytestmark = [pytest.mark.celery, pytest.mark.redis]

PROJECT = """
import os
from celery import Celery

app = Celery("mixed", broker=os.environ["INTEROP_URL"], backend=os.environ["INTEROP_URL"])

@app.task(name="mixed.common")
def common():
    return "common"

if "sedano" not in type(app).__module__:
    @app.task(name="mixed.celerys")
    def celerys(n):
        return n + 1
"""
CALLS = 8


@pytest.mark.parametrize("version", environments.VERSIONS[-1:])
def test_given_a_task_that_only_the_celery_worker_knows_when_sedano_takes_it_then_it_gets_there(
    place: Place, version: str
) -> None:
    (place.folder / "mixed.py").write_text(PROJECT)
    sedano = place.ready(engine("sedano"), "s@mixed", app="mixed", cwd=place.folder)
    caller = place.peer(engine(f"celery{version}"))
    ids = caller.ask("[app.send_task('mixed.celerys', (n,)).id for n in range(8)]")
    place.until(lambda: sedano.log().count("is parked for") == CALLS)
    place.ready(engine(f"celery{version}"), "c@mixed", app="mixed", cwd=place.folder)
    answers = caller.ask("[app.AsyncResult(id).get(timeout=150) for id in ids]", ids=ids)
    assert answers == [n + 1 for n in range(CALLS)]
    assert "NotRegistered" not in sedano.log()
