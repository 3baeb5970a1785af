"""`celery.contrib.testing` and `celery.contrib.pytest`, as a program's own tests use them: run by a pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CONFTEST = """
import sedano.as_celery
import pytest

pytest_plugins = ("celery.contrib.pytest",)

@pytest.fixture(scope="session")
def celery_includes():
    return ["shop"]

@pytest.fixture(scope="session")
def celery_config():
    return {"task_default_queue": "shop", "timezone": "Europe/Rome"}

@pytest.fixture(scope="session")
def celery_class_tasks():
    import shop
    return [shop.Weigh]
"""
SHOP = """
from celery import Task, shared_task

@shared_task
def price(x, y):
    return x * y

class Weigh(Task):
    name = "shop.weigh"
    def run(self, what):
        return len(what)
"""
TESTS = """
import celery
import pytest
from celery.contrib.testing.app import TestApp
from celery.contrib.testing.worker import start_worker, test_worker_started, test_worker_stopped

def test_of_the_apps_settings(celery_app):
    assert celery_app.conf.timezone == "Europe/Rome"
    assert celery_app.conf.broker_url == "memory://"
    assert celery.current_app._get_current_object() is celery_app

@pytest.mark.celery(timezone="Asia/Tokyo", result_expires=7)
def test_of_the_marker(celery_app):
    assert (celery_app.conf.timezone, celery_app.conf.result_expires) == ("Asia/Tokyo", 7)

def test_of_a_task_of_the_test(celery_app, celery_worker):
    @celery_app.task
    def mul(x, y):
        return x * y

    assert mul.delay(4, 4).get(timeout=20) == 16

def test_of_an_included_module(celery_app, celery_worker):
    from shop import price
    assert price.delay(3, 4).get(timeout=20) == 12

def test_of_the_same_module_with_another_app(celery_app, celery_worker, caplog):
    from shop import price
    with caplog.at_level("INFO"):
        assert price.apply_async((2, 4)).get(timeout=20) == 8
    assert any("succeeded" in record.getMessage() for record in caplog.records)

@pytest.mark.usefixtures("depends_on_current_app")
def test_of_the_current_app(celery_app):
    assert celery.current_app.main == "celery.tests"

class TestSession:
    def test_one(self, celery_session_app, celery_session_worker):
        assert celery_session_app.tasks["shop.weigh"].delay("apple").get(timeout=20) == 5

    def test_two(self, celery_session_app, celery_session_worker):
        assert celery_session_worker.stats()["total"]["shop.weigh"] == 1
        assert celery_session_app.control.inspect(timeout=5).ping() == {celery_session_worker.hostname: {"ok": "pong"}}

def test_of_an_app_of_ones_own_and_signals():
    heard = []
    started = lambda worker, consumer, **_: heard.append(("started", worker.hostname, consumer.hostname))
    stopped = lambda worker, **_: heard.append(("stopped", worker.hostname))
    test_worker_started.connect(started)
    test_worker_stopped.connect(stopped)
    app = TestApp(set_as_current=True)

    @app.task(name="own.double")
    def double(x):
        return 2 * x

    with start_worker(app, perform_ping_check=False, hostname="own@test", queues=["celery", "other"], concurrency=2) as worker:
        assert double.apply_async((4,), queue="other").get(timeout=20) == 8
        assert str(worker) == "own@test"
    assert heard == [("started", "own@test", "own@test"), ("stopped", "own@test")]

def test_of_what_keeps_a_worker_from_starting():
    app = TestApp(config={"worker_concurency": 1})
    with pytest.raises(TypeError, match="hostname"):
        with start_worker(app, perform_ping_check=False, hostnam="x"):
            pass

def test_of_a_call_that_takes_too_long():
    import threading
    app, go = TestApp(broker="memory://slow", backend="memory://slow"), threading.Event()
    begun = threading.Event()

    @app.task
    def wait():
        begun.set()
        go.wait(60)

    with pytest.raises(RuntimeError, match="shutdown_timeout"):
        with start_worker(app, shutdown_timeout=0.2):
            wait.delay()
            assert begun.wait(20)
    go.set()

def test_that_the_current_app_is_restored():
    from sedano import current
    assert current.get_app() is not None
"""
TRAPPED = """
import pytest
import celery

@pytest.fixture(scope="session")
def use_celery_app_trap():
    return True

def test_of_the_trap(celery_app):
    with pytest.raises(RuntimeError, match="depends on current_app"):
        celery.current_app.conf
    assert celery_app.conf.timezone == "Europe/Rome"
"""


def run_pytest(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CELERY_", "SEDANO_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-W", "error", *words],
        cwd=folder,
        env={**clean, **variables},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_given_a_programs_tests_when_pytest_runs_them_then_the_fixtures_of_celery_are_there(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "test_shop.py").write_text(TESTS)
    (tmp_path / "test_trap.py").write_text(TRAPPED)
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 passed" in done.stdout, done.stdout


def test_given_the_alias_by_the_environment_when_the_plugin_is_named_then_its_marker_and_fixtures_are_known(
    tmp_path: Path,
) -> None:
    (tmp_path / "test_plain.py").write_text("def test_plain(celery_app):\n    assert celery_app.main == 'celery.tests'\n")
    done = run_pytest(tmp_path, "-p", "celery.contrib.pytest", "--strict-markers", SEDANO_AS_CELERY="1")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    listed = run_pytest(tmp_path, "-p", "celery.contrib.pytest", "--markers", SEDANO_AS_CELERY="1")
    assert "@pytest.mark.celery(**overrides)" in listed.stdout


HELPERS = """
import sedano.as_celery
from celery.contrib.testing.app import TestApp
from celery.contrib.testing.manager import Manager
from celery.contrib.testing.mocks import ContextMock, TaskMessage, TaskMessage1, task_message_from_sig
from celery.contrib.testing.worker import start_worker

app = TestApp(set_as_current=True)

@app.task(name="double")
def double(x):
    return 2 * x

message = task_message_from_sig(app, double.s(4).set(countdown=10, priority=3))
assert (message.headers["task"], message.headers["priority"], message.payload[0]) == ("double", 3, (4,))
assert message.headers["eta"].startswith("20") and message.content_type == "application/json"
assert TaskMessage("x", args=(1,)).body and TaskMessage1("x", id="1").payload["id"] == "1"
with ContextMock() as inside:
    inside.anything()

with start_worker(app):
    manager = Manager(app)
    results = [double.delay(n) for n in range(3)]
    assert manager.join(app.ResultSet(results), timeout=20) == [0, 2, 4]
    manager.assert_received([one.id for one in results], interval=2)
    manager.assert_result_tasks_in_progress_or_completed(results)
    manager.wait_until_idle()
    seen = []
    assert manager.wait_for(lambda: seen.append(1) or seen[2], IndexError, interval_start=0.01, interval_step=0) == 1
    manager.ensure_not_for_a_while(lambda: [][0], IndexError, max_retries=2, interval_start=0.01)
print("done")
"""


def test_given_the_helpers_when_used_in_a_script_then_they_make_messages_and_wait_for_calls(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELPERS], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "done\n", done.stderr
