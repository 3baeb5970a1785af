"""From settings to stores, and where the embedded store lies."""

from __future__ import annotations

import logging
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.apps import MakeApp

from sedano import Celery
from sedano.app import connect, home, schemes
from sedano.app.connect import Stores
from sedano.contracts import AmqpOptions, Change, Pause, Revoke
from sedano.drivers import memory, redis
from sedano.exceptions import ImproperlyConfigured, UnknownStore
from sedano.result import DisabledBackend


def app_of_file(tmp_path: Path, make_app: MakeApp, **keywords: object) -> Celery:
    app = make_app(broker=None, **keywords)
    app.module_file = str(tmp_path / "tasks.py")
    return app


def test_given_no_broker_then_calls_and_results_go_to_the_embedded_store(tmp_path: Path, make_app: MakeApp) -> None:
    app = app_of_file(tmp_path, make_app)
    stores = app.stores
    assert stores.embedded == tmp_path / ".sedano"
    assert stores.broker_url == stores.results_url == f"sqlite:///{tmp_path}/.sedano/sedano.db"
    assert stores.shared_results
    assert not (tmp_path / ".sedano").exists()
    stores.open_broker().close()
    assert (tmp_path / ".sedano" / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("marker", ["pyproject.toml", "setup.cfg", "manage.py", ".git"])
def test_given_a_project_above_the_module_then_the_store_lies_beside_its_marker(tmp_path: Path, marker: str) -> None:
    (tmp_path / marker).mkdir()
    deep = tmp_path / "src" / "proj"
    deep.mkdir(parents=True)
    assert home.store_folder(str(deep / "celery.py")) == tmp_path / ".sedano"


def test_given_a_prompt_then_the_store_lies_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert home.store_folder(None) == tmp_path / ".sedano"


def test_given_a_folder_with_odd_characters_then_the_url_still_leads_there(tmp_path: Path, make_app: MakeApp) -> None:
    folder = tmp_path / "a b#c%d?e"
    folder.mkdir()
    app = app_of_file(folder, make_app)
    app.send_task("t")
    assert (folder / ".sedano" / "sedano.db").exists()


SCRIPT = """
import sys
from lib import make
from sedano import Celery
print(Celery("a").module_file)
class Mine(Celery):
    def __init__(self):
        super().__init__("b")
print(Mine().module_file)
print(make().module_file)
exec("print(Celery('c').module_file)", {"Celery": Celery, "__name__": "__main__"})
"""


def test_given_a_script_then_the_app_knows_the_file_that_made_it_wherever_it_is_started(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "lib.py").write_text("from sedano import Celery\ndef make():\n    return Celery('lib')\n")
    done = subprocess.run([sys.executable, str(tmp_path / "script.py")], cwd="/", capture_output=True, text=True, check=True)
    script = str(tmp_path / "script.py")
    assert done.stdout.split() == [script, script, str(tmp_path / "lib.py"), "None"]


def test_given_the_embedded_store_when_first_used_then_its_path_is_logged_once(
    tmp_path: Path, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_of_file(tmp_path, make_app)
    with caplog.at_level(logging.INFO):
        app.send_task("t")
        app.send_task("t")
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records if "embedded" in record.getMessage()] == [
        str(tmp_path / ".sedano")
    ]


def test_given_a_broker_and_no_backend_then_results_are_off_and_asking_says_what_to_set(make_app: MakeApp) -> None:
    app = make_app(broker="memory://no-results")
    assert app.stores.results_url is None
    assert isinstance(app.backend, DisabledBackend)
    result = app.send_task("t")
    for ask in (lambda: result.state, lambda: result.get(timeout=1), lambda: result.forget(), result.ready):
        with pytest.raises(NotImplementedError, match="result_backend"):
            ask()
    app.backend.store_result("id", 1, "SUCCESS")
    assert make_app(broker="memory://x", backend="disabled://").stores.results_url is None


def test_given_read_and_write_urls_then_each_is_used_for_its_side(make_app: MakeApp) -> None:
    app = make_app(broker=None, broker_read_url="memory://read-side", broker_write_url="memory://write-side")
    assert (app.stores.broker_url, app.stores.write_url) == ("memory://read-side", "memory://write-side")
    app.send_task("t")
    assert app.stores.open_broker(write=True).depth(["celery"])[0].ready == 1
    assert app.stores.open_broker().queues() == []


def test_given_urls_in_the_environment_then_they_win(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "memory://from-environment")
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "cache+memory://")
    stores = make_app(broker="redis://elsewhere").stores
    assert (stores.broker_url, stores.results_url) == ("memory://from-environment", "cache+memory://")


@pytest.mark.parametrize("scheme", [*redis.SCHEMES, "Redis", "VALKEYS"])
def test_given_a_scheme_that_the_redis_driver_reads_then_an_app_takes_it_and_its_workers_hand_back(
    make_app: MakeApp, scheme: str
) -> None:
    where = "/run/no.sock" if scheme in ("redis+socket", "unix", "socket") else "localhost/0"
    url = f"{scheme}://{where}"
    options = {"broker_transport_options": {"master_name": "m"}, "result_backend_transport_options": {"master_name": "m"}}
    stores = make_app(broker=url, backend=url, **options).stores
    assert (stores.broker_url, stores.results_url) == (url, url)
    assert stores.speaks_celery
    assert stores.shared_results
    stores.open_broker().close()  # connects at first use


@pytest.mark.parametrize("scheme", sorted(schemes.COMING))
def test_given_any_other_transport_of_celerys_then_the_error_says_which_driver_will_bring_it(
    make_app: MakeApp, scheme: str
) -> None:
    with pytest.raises(UnknownStore, match=f"{scheme}:// comes with the"):
        _ = make_app(broker=f"{scheme}://localhost").stores


@pytest.mark.parametrize(
    ("broker", "words"),
    [
        ("sqs://", ["kombu driver"]),
        ("reids://localhost", ["reids://", "Did you mean redis://"]),
        ("rediss+socket:///run/no.sock", ["rediss+socket://", "Did you mean redis+socket://"]),
    ],
)
def test_given_a_scheme_without_a_driver_then_the_error_says_what_there_is(
    make_app: MakeApp, broker: str, words: list[str]
) -> None:
    with pytest.raises(UnknownStore) as caught:
        _ = make_app(broker=broker).stores
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("backend", "word"),
    [
        ("rpc://", "the broker is memory://x: set result_backend to the URL of a store"),
        ("rpc", "or take RabbitMQ"),
        ("amqp://h//", "RabbitMQ keeps no results. Set result_backend to rpc://"),
        ("db+sqlite:///x", "SQLAlchemy"),
        ("mongodb://h", "mongodb"),
        ("x.y:Backend", "Backend"),
    ],
)
def test_given_a_result_backend_without_a_driver_then_the_error_names_it(make_app: MakeApp, backend: str, word: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=word) as caught:
        _ = make_app(broker="memory://x", backend=backend).stores
    assert "result_backend" in str(caught.value)


@pytest.mark.parametrize("broker", ["localhost:6379", "redis:/localhost", "redis://localhost:port/0", "redis://[::1/0"])
def test_given_a_url_that_is_none_then_the_error_names_setting_and_part(make_app: MakeApp, broker: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="broker_url"):
        _ = make_app(broker=broker).stores


def test_given_a_wrong_url_with_a_password_then_the_password_is_not_shown(make_app: MakeApp) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        _ = make_app(broker="redis://:sesame@host:port/0").stores
    assert "sesame" not in str(caught.value)
    stores = make_app(broker="redis://:sesame@host:1/0", backend="redis://:sesame@host:1/0").stores
    assert "sesame" not in repr(stores)


def test_given_a_missing_client_library_then_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "driver_xyz.py").write_text("import no_such_client_xyz.asyncio")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(connect, "DRIVERS", {"some": "driver_xyz"})
    monkeypatch.setattr(connect, "EXTRAS", {"no_such_client_xyz": "redis"})
    with pytest.raises(ImproperlyConfigured, match=r'pip install "sedano\[redis\]"'):
        connect.load_driver("some://localhost")


PRELOADED = """
import sys
from sedano import Celery
def loaded():
    packages = set(name.rpartition(".")[0] for name in sys.modules)
    return sorted(name.rpartition(".")[2] for name in packages if name.count(".") == 2 and "sedano.drivers." in name)
app = Celery("a", broker={broker!r}, backend={backend!r})
print(loaded())
app.finalize()
print(loaded())
"""


@pytest.mark.parametrize(
    ("broker", "backend", "loaded"),
    [
        ("redis://localhost", None, ["redis"]),
        ("memory://", "sqlite:////tmp/no.db", ["memory", "sqlite"]),
        (None, None, ["sqlite"]),
        ("redis://localhost", "rpc://", []),
    ],
)
def test_given_an_app_when_it_is_finalized_then_its_drivers_are_loaded_and_not_before(
    broker: str | None, backend: str | None, loaded: list[str]
) -> None:
    script = PRELOADED.format(broker=broker, backend=backend)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", str(loaded)]


FORKED = """
import os, signal, threading, time
import slow_driver_gate as gate
from sedano.app import connect
connect.DRIVERS = {"slow": "slow_driver_xyz"}
thread = threading.Thread(target=connect.load_driver, args=("slow://",))
thread.start()
gate.reached.wait()
child = os.fork()  # the module is half imported
if child == 0:
    signal.alarm(60)
    os._exit(0 if connect.load_driver("slow://").complete else 1)
thread.join()
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_given_a_thread_that_imports_a_driver_when_the_process_forks_then_the_child_has_it(tmp_path: Path) -> None:
    (tmp_path / "slow_driver_gate.py").write_text("import threading\nreached = threading.Event()\n")
    (tmp_path / "slow_driver_xyz.py").write_text(
        "import time\nimport slow_driver_gate\nslow_driver_gate.reached.set()\ntime.sleep(0.5)\ncomplete = True\n"
    )
    (tmp_path / "script.py").write_text(FORKED)
    done = subprocess.run([sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("broker", ["redis://one;redis://two", ["redis://one", "redis://two"], " redis://one ; redis://two;"])
def test_given_several_urls_then_each_is_a_server_and_the_first_is_used(make_app: MakeApp, broker: Any) -> None:
    stores = make_app(broker=broker).stores
    assert stores.broker_urls == stores.write_urls == ("redis://one", "redis://two")
    assert stores.broker_url == stores.at(0).broker_url == "redis://one"
    assert stores.at(1).broker_url == stores.writing_at(1).write_url == "redis://two"


def test_given_several_sentinels_then_they_are_one_server(make_app: MakeApp) -> None:
    sentinels = "sentinel://a:1;sentinel://b:2"
    assert make_app(broker=sentinels).stores.broker_urls == (sentinels,)


def test_given_several_urls_to_read_and_one_to_write_then_both_are_kept(make_app: MakeApp) -> None:
    app = make_app(broker=None, broker_read_url="redis://a;redis://b", broker_write_url="redis://c")
    assert (app.stores.broker_urls, app.stores.write_urls) == (("redis://a", "redis://b"), ("redis://c",))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"broker": "memory://a;memory://b"}, "memory:// is one of them"),
        ({"broker": "redis://u:hidden@a;redis://u:hidden@a"}, "names a server twice: redis://u:**@a, redis://u:**@a"),
        ({"broker": "redis://a;redis://b", "broker_failover_strategy": "roundabout"}, "'roundabout' is not known"),
        ({"broker": "redis://a;redis://b", "broker_failover_strategy": lambda _: ["redis://c"]}, "'redis://c', which is none"),
        ({"broker": "redis://a;redis://b", "broker_failover_strategy": lambda _: []}, "gave no URL at all"),
        ({"broker": "redis://a;sqs://b"}, "sqs:// comes with the kombu driver"),
        ({"broker": "rpc://"}, "rpc:// is for result_backend only"),
    ],
)
def test_given_servers_that_cannot_stand_in_for_each_other_then_it_is_said(
    make_app: MakeApp, settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        _ = make_app(**settings).stores
    assert text in str(raised.value)
    assert "hidden" not in str(raised.value)


def test_given_the_parts_of_celery_2_then_they_make_a_url(make_app: MakeApp) -> None:
    app = make_app(
        broker=None, broker_transport="redis", broker_host="h", broker_port=1, broker_password="p@", broker_vhost="3"
    )
    assert app.stores.broker_url == "redis://:p%40@h:1/3"


def test_given_urls_that_change_then_the_next_call_goes_to_the_new_store(make_app: MakeApp) -> None:
    app = make_app(broker="memory://before")
    app.send_task("t")
    app.conf.broker_url = "memory://after"
    app.send_task("t")
    assert app.stores.open_broker().depth(["celery"])[0].ready == 1


def test_given_different_stores_then_the_broker_does_not_write_results(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(broker="memory://calls", backend=f"sqlite:///{tmp_path}/results.db")
    assert not app.stores.shared_results
    assert not app.stores.open_broker().capabilities.shared_results
    same = make_app()
    assert same.stores.shared_results
    assert same.stores.open_broker().capabilities.shared_results


def test_given_options_of_transports_then_the_driver_gets_them(make_app: MakeApp) -> None:
    stores: Stores = make_app(
        broker_transport_options={"global_keyprefix": "x"},
        result_backend_transport_options={"retry_policy": {}},
        broker_connection_timeout=2,
        control_exchange="own",
    ).stores
    assert stores.options.transport == {"global_keyprefix": "x"}
    assert stores.results_options.results_transport == {"retry_policy": {}}
    assert stores.options.connect_timeout_s == 2.0
    assert stores.options.control_exchange == "own"


@pytest.mark.setting("schedule_store")
def test_given_a_store_for_schedules_then_they_and_their_locks_are_kept_there_and_nowhere_else(
    make_app: MakeApp, tmp_path: Path
) -> None:
    app = make_app(broker="memory://calls", schedule_store=f"sqlite:///{tmp_path}/schedules.db")
    assert not app.stores.schedules_share_broker
    with closing(app.stores.open_schedules("proj")) as schedules, closing(app.stores.open_schedule_coordination()) as locks:
        schedules.put([Change("a", b"", None)])
        assert locks.acquire("beat", "one", ttl_s=60.0) == 1
    assert app.stores.open_coordination().holder("beat") is None
    app.conf.schedule_store = None
    assert app.stores.schedules_share_broker
    assert app.stores.open_schedules("proj").entries() == []
    app.conf.schedule_store = "memory://calls"
    assert app.stores.schedules_share_broker


def test_given_a_store_for_schedules_that_is_none_then_the_error_names_the_setting(make_app: MakeApp) -> None:
    with pytest.raises(UnknownStore, match=r"schedule_store='gopher://u:[*]+@h'"):
        _ = make_app(broker="memory://calls", schedule_store="gopher://u:hidden@h").stores


def test_given_a_broker_that_keeps_no_schedules_then_the_error_says_what_to_set(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = make_app(broker="memory://calls").stores
    monkeypatch.delattr(memory, "open_schedules")
    with pytest.raises(ImproperlyConfigured, match="memory://calls keeps no schedules: set schedule_store"):
        stores.open_schedules("proj")


# -- RabbitMQ ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["amqp://", "amqp://guest@localhost//", "amqps://h/v", "pyamqp://h:1", "librabbitmq://h", "AMQP://h"]
)
def test_given_a_url_of_rabbitmq_then_celery_may_share_its_queues(make_app: MakeApp, url: str) -> None:
    stores = make_app(broker=url, backend="rpc://").stores

    assert (stores.broker_url, stores.write_url, stores.results_url) == (url, url, "rpc://")
    assert stores.speaks_celery
    assert stores.results_are_replies
    assert stores.shared_results


def test_given_several_rabbitmqs_then_each_is_a_server_of_its_own(make_app: MakeApp) -> None:
    stores = make_app(broker="amqp://u:p@a//;amqp://u:p@b//", broker_failover_strategy="shuffle").stores

    assert stores.broker_urls == stores.write_urls == ("amqp://u:p@a//", "amqp://u:p@b//")
    assert stores.strategy == "shuffle"


def test_given_rabbitmq_and_results_elsewhere_then_they_do_not_share(make_app: MakeApp) -> None:
    stores = make_app(broker="amqp://", backend="redis://localhost").stores

    assert not stores.results_are_replies
    assert not stores.shared_results


def test_given_rabbitmq_alone_then_what_nodes_agree_on_stands_in_the_store_of_this_host(
    tmp_path: Path, make_app: MakeApp
) -> None:
    app = make_app(broker="amqp://u@nowhere.invalid//")
    app.module_file = str(tmp_path / "tasks.py")
    stores = app.stores
    url = f"sqlite:///{tmp_path}/.sedano/sedano.db"

    assert (stores.agrees_elsewhere, stores.agrees_on_host, stores.schedules_url) == (True, True, url)
    assert (stores.embedded, stores.schedules_share_broker, stores.carries_schedules) == (None, False, True)
    with closing(stores.open_coordination()) as coordination:
        coordination.revoke([Revoke("id")], keep_s=60)
    with closing(stores.open_schedule_coordination()) as coordination:
        assert coordination.acquire("lock", "me", ttl_s=60) is not None
    with closing(stores.open_schedules("proj")) as schedules:
        schedules.put([Change("a", b"x", None)])
    with closing(connect.load_driver(url).open_coordination(url, stores.options)) as coordination:
        assert [order.task_id for order in coordination.revokes()[1]] == ["id"]
        assert coordination.holder("lock") is not None
    assert (tmp_path / ".sedano" / ".gitignore").read_text() == "*\n"


def test_given_a_schedule_store_beside_rabbitmq_then_nodes_agree_there(make_app: MakeApp) -> None:
    stores = make_app(broker="amqp://", schedule_store="redis://localhost/5").stores
    assert (stores.agrees_elsewhere, stores.agrees_on_host, stores.beside) == (True, False, None)

    other = make_app(broker="amqp://", schedule_store="memory://agreed").stores
    with closing(other.open_coordination()) as coordination:
        coordination.pause([Pause("q", 1.0)])
    with closing(memory.open_coordination("memory://agreed", other.options)) as coordination:
        assert [pause.queue for pause in coordination.pauses()] == ["q"]

    own = make_app(broker="redis://localhost", schedule_store="sqlite:///x.db").stores
    assert (own.agrees_elsewhere, own.agrees_on_host) == (False, False)


def test_given_no_folder_to_be_had_beside_rabbitmq_then_the_error_says_what_to_set(tmp_path: Path, make_app: MakeApp) -> None:
    app = make_app(broker="amqp://u:hidden@h//")
    (tmp_path / ".sedano").write_text("a file stands in the way")
    app.module_file = str(tmp_path / "tasks.py")

    with pytest.raises(ImproperlyConfigured, match="set schedule_store to the URL of a store") as raised:
        app.stores.open_coordination()
    assert "hidden" not in str(raised.value)


@pytest.mark.setting(
    "broker_heartbeat",
    "broker_login_method",
    "broker_native_delayed_delivery_queue_type",
    "control_queue_durable",
    "control_queue_exclusive",
    "control_queue_expires",
    "control_queue_ttl",
    "event_queue_durable",
    "event_queue_exclusive",
    "event_queue_expires",
    "event_queue_prefix",
    "event_queue_ttl",
    "result_persistent",
)
def test_given_settings_for_a_broker_with_exchanges_then_its_driver_gets_them(make_app: MakeApp) -> None:
    stores = make_app(
        broker="amqp://",
        backend="rpc://",
        broker_heartbeat=30,
        broker_login_method="EXTERNAL",
        broker_use_ssl={"ca_certs": "ca.pem"},
        broker_transport_options={"confirm_publish": False},
        broker_native_delayed_delivery_queue_type="classic",
        event_queue_prefix="ev",
        event_queue_expires=1,
        event_queue_ttl=timedelta(seconds=2),
        event_queue_durable=True,
        event_queue_exclusive=False,
        control_queue_expires=3,
        control_queue_ttl=4,
        control_queue_durable=True,
        control_queue_exclusive=False,
        result_persistent=True,
        result_expires=5,
    ).stores

    options = stores.options
    assert (options.heartbeat_s, options.login_method, options.ssl) == (30.0, "EXTERNAL", {"ca_certs": "ca.pem"})
    assert options.transport == {"confirm_publish": False}
    assert options.amqp == AmqpOptions("ev", 1.0, 2.0, True, False, 3.0, 4.0, True, False, True, 5.0, "classic")
    assert stores.results_options == options  # it is one connection's worth of settings
    assert make_app(broker="amqp://").stores.options.amqp == AmqpOptions()
