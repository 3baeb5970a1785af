"""What is kept of a call's end: settings of the result store, as worker and caller see them."""

from __future__ import annotations

import traceback
from datetime import timedelta
from typing import Any

import pytest
from tests.servers import RedisServer
from tests.services.settings.apps import PATIENCE_S, Apps, Gate, dead_letters, payload, record, task

from sedano.exceptions import ContentDisallowed


def ended(app: Any, body: Any = lambda: 5, **options: Any) -> str:
    """Have a worker run one call to its end; its id."""
    t = task(app, name="t", **options)(body)
    result = t.delay()
    result.get(timeout=PATIENCE_S, propagate=False)
    return str(result.id)


def fail() -> None:
    raise KeyError("gone")


@pytest.mark.setting("result_backend")
def test_given_a_result_backend_when_a_call_ends_then_its_result_is_kept_there(apps: Apps) -> None:
    app = apps.make(result_backend="memory://elsewhere")
    apps.working(app)

    task_id = ended(app)

    other = apps.make(result_backend="memory://elsewhere")
    assert other.AsyncResult(task_id).get(timeout=PATIENCE_S) == 5


@pytest.mark.setting("result_backend")
@pytest.mark.parametrize("given", ["disabled", "disabled://"])
def test_given_disabled_results_when_a_call_ends_then_asking_for_its_result_says_so(apps: Apps, given: str) -> None:
    app = apps.make(result_backend=given)

    with pytest.raises(NotImplementedError, match="result_backend"):
        app.send_task("t").get(timeout=0)


@pytest.mark.setting("result_serializer")
def test_given_a_serializer_when_a_call_ends_then_its_record_is_written_by_it(apps: Apps) -> None:
    app = apps.make(result_serializer="pickle", accept_content=["json", "pickle"])
    apps.working(app)

    task_id = ended(app, lambda: {1, 2})

    assert payload(app, task_id).startswith(b"\x80")
    assert app.AsyncResult(task_id).get(timeout=PATIENCE_S) == {1, 2}


@pytest.mark.setting("result_accept_content", "accept_content")
@pytest.mark.parametrize("allowed", [{"accept_content": ["json", "pickle"]}, {"result_accept_content": ["pickle"]}])
def test_given_what_is_accepted_when_a_result_is_read_then_others_are_refused(apps: Apps, allowed: dict[str, Any]) -> None:
    strict = apps.make(result_serializer="pickle")
    strict.backend.store_result("id", 5, "SUCCESS")
    lenient = apps.twin(strict, result_serializer="pickle", **allowed)

    assert lenient.AsyncResult("id").result == 5
    with pytest.raises(ContentDisallowed):
        _ = strict.AsyncResult("id").result


@pytest.mark.setting("accept_content")
def test_given_what_is_accepted_when_a_call_comes_in_another_form_then_it_is_kept_and_not_run(apps: Apps) -> None:
    app = apps.make()
    ran: list[int] = []
    t = task(app, name="t")(ran.append)
    apps.working(app)

    refused = apps.twin(app, accept_content=["pickle", "json"]).send_task("t", [1], serializer="pickle")
    t.delay(2).get(timeout=PATIENCE_S)

    assert ran == [2]
    assert [letter.note.task_id for letter in dead_letters(app)] == [refused.id]
    accepting = apps.make(accept_content=["application/x-python-serialize"], result_accept_content=["json"])
    also = task(accepting, name="also")(ran.append)
    apps.working(accepting)
    also.apply_async([3], serializer="pickle").get(timeout=PATIENCE_S)
    assert ran == [2, 3]


@pytest.mark.setting("result_compression")
def test_given_a_compression_when_a_call_ends_then_its_record_is_compressed_and_read_all_the_same(apps: Apps) -> None:
    app = apps.make(result_compression="zlib")
    apps.working(app)

    task_id = ended(app, lambda: "x" * 5000)

    assert b'"SUCCESS"' not in payload(app, task_id)
    assert len(payload(app, task_id)) < 1000
    assert app.AsyncResult(task_id).get(timeout=PATIENCE_S) == "x" * 5000


@pytest.mark.setting("result_extended")
@pytest.mark.parametrize("given", [True, "true"])
def test_given_extended_results_when_a_call_ends_then_its_record_tells_what_ran(apps: Apps, given: Any) -> None:
    app = apps.make(result_extended=given)
    apps.working(app, hostname="w1@test")

    task_id = ended(app)

    found = record(app, task_id)
    assert (found["name"], found["args"], found["worker"], found["queue"]) == ("t", [], "w1@test", "celery")


@pytest.mark.redis
@pytest.mark.setting("result_expires", "result_failure_expires")
@pytest.mark.parametrize(
    ("settings", "success_s", "failure_s"),
    [
        ({"result_expires": 100}, 100, 100),
        ({"result_expires": timedelta(minutes=5), "result_failure_expires": 30}, 300, 30),
        ({"result_expires": "50", "result_failure_expires": timedelta(minutes=1)}, 50, 60),
        ({"result_expires": None, "result_failure_expires": 30}, -1, 30),
        ({"result_expires": 60, "result_failure_expires": 0}, 60, -1),
    ],
)
def test_given_lifetimes_when_results_are_stored_by_worker_and_client_then_each_is_kept_as_long(
    apps: Apps, redis: RedisServer, settings: dict[str, Any], success_s: int, failure_s: int
) -> None:
    app = apps.make(broker_url=redis.url, result_backend=redis.url, **settings)
    apps.working(app)

    good, bad = task(app, name="good")(lambda: 5).delay(), task(app, name="bad")(fail).delay()
    for result in (good, bad):
        result.get(timeout=PATIENCE_S, propagate=False)
    app.backend.store_result("by hand", 5, "SUCCESS")
    app.backend.store_result("failed by hand", KeyError("gone"), "FAILURE")

    lives = {task_id: redis.command("TTL", f"celery-task-meta-{task_id}") for task_id in (good.id, "by hand")}
    assert set(lives.values()) <= {success_s, success_s - 1}
    ends = {task_id: redis.command("TTL", f"celery-task-meta-{task_id}") for task_id in (bad.id, "failed by hand")}
    assert set(ends.values()) <= {failure_s, failure_s - 1}


@pytest.mark.setting("task_ignore_result")
@pytest.mark.parametrize("given", [True, "yes"])
def test_given_ignored_results_when_a_call_ends_then_nothing_is_kept_unless_its_task_wants_it(apps: Apps, given: Any) -> None:
    app = apps.make(task_ignore_result=given)
    keeps = task(app, name="keeps", ignore_result=False)(lambda: 5)
    ignores = task(app, name="ignores")(lambda: 5)
    apps.working(app)

    ignored = ignores.delay()
    assert keeps.delay().get(timeout=PATIENCE_S) == 5

    assert record(app, ignored.id)["status"] == "PENDING"


@pytest.mark.setting("task_store_errors_even_if_ignored")
def test_given_ignored_results_when_a_call_fails_then_that_is_kept_if_asked_for(apps: Apps) -> None:
    app = apps.make(task_ignore_result=True, task_store_errors_even_if_ignored=True)
    failing = task(app, name="failing")(fail)
    fine = task(app, name="fine")(lambda: 5)
    last = task(app, name="last", ignore_result=False)(lambda: 6)
    apps.working(app)

    failed, succeeded = failing.delay(), fine.delay()
    last.delay().get(timeout=PATIENCE_S)

    assert record(app, failed.id)["status"] == "FAILURE"
    assert record(app, succeeded.id)["status"] == "PENDING"


@pytest.mark.setting("task_track_started")
@pytest.mark.parametrize(("tracks", "state"), [(True, "STARTED"), (False, "PENDING"), ("no", "PENDING")])
def test_given_a_running_call_when_its_state_is_asked_for_then_it_is_started_if_tracked(
    apps: Apps, tracks: Any, state: str
) -> None:
    app = apps.make(task_track_started=tracks)
    gate = Gate()
    t = task(app, name="t")(gate.pass_through)
    apps.working(app)

    result = t.delay()
    gate.wait()
    seen = result.state
    gate.open()
    result.get(timeout=PATIENCE_S)

    assert seen == state


@pytest.mark.setting("task_remote_tracebacks")
@pytest.mark.parametrize("shows", [True, False, "false"])
def test_given_a_failed_call_when_its_error_is_raised_then_it_shows_the_workers_frames_if_asked_for(
    apps: Apps, shows: Any
) -> None:
    app = apps.make(task_remote_tracebacks=shows)
    t = task(app, name="t")(fail)
    apps.working(app)

    with pytest.raises(KeyError) as caught:
        t.delay().get(timeout=PATIENCE_S)

    text = "".join(traceback.format_exception(caught.value))
    assert ("in fail" in text) is (shows is True)
