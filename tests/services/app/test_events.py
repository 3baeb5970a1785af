"""Events from one process to another's receiver, on each store that several processes share."""

from __future__ import annotations

import json
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.interop.test_event_states import RECEIVED
from tests.servers import RedisServer, is_left_out, redis_server

from sedano import Celery, chain, group
from sedano.app.drafts import hostname
from sedano.clock import utcoffset_h
from sedano.events import Event, EventDispatcher, EventReceiver, get_exchange
from sedano.events.dumper import Dumper
from sedano.events.snapshot import Polaroid
from sedano.events.state import State, Task, Worker, heartbeat_expires
from sedano.exceptions import ImproperlyConfigured, OperationalError
from sedano.protocol.message import Message

__all__ = ["redis_server"]

PATIENCE_S = 60.0
RECORDINGS = Path(__file__).resolve().parents[2] / "interop" / "recordings"


@pytest.fixture(params=["redis", "sqlite", "memory"])
def make_app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Celery]]:
    apps: list[Celery] = []
    url = f"sqlite:///{tmp_path}/events.db" if request.param == "sqlite" else f"memory://{tmp_path}"
    if request.param == "redis":
        if is_left_out("redis"):
            pytest.skip("SEDANO_WITHOUT names redis")
        server: RedisServer = request.getfixturevalue("redis_server")
        server.command("FLUSHALL")
        url = server.url

    def make(**settings: Any) -> Celery:
        apps.append(Celery("tests", broker=url, backend=url, set_as_current=False, **settings))

        @apps[-1].task(name="add")
        def add(x: int = 0, y: int = 0) -> int:
            return x + y

        return apps[-1]

    yield make
    for app in apps:
        app.close()


class Ear:
    """A receiver in a thread of its own, which hears from the return of the constructor on."""

    def __init__(self, app: Celery, **options: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self._heard = threading.Condition()
        self.receiver = app.events.Receiver(app.connection(), handlers={"*": self._note}, **options)
        self._thread = threading.Thread(target=self.receiver.capture, kwargs={"wakeup": False})
        self._thread.start()
        with app.events.default_dispatcher() as probe:
            while not self.events:
                probe.send("task-probe", probe=True)
                time.sleep(0.01)

    def _note(self, event: dict[str, Any]) -> None:
        with self._heard:
            self.events.append(event)
            self._heard.notify_all()

    def wait(self, count: int) -> list[dict[str, Any]]:
        """The first `count` events that are no probes."""
        deadline = time.monotonic() + PATIENCE_S
        with self._heard:
            while len(found := [event for event in self.events if "probe" not in event]) < count:
                assert self._heard.wait(deadline - time.monotonic()), f"heard {found}"
        return found

    def close(self) -> None:
        self.receiver.should_stop = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@pytest.fixture
def listen() -> Iterator[Callable[..., Ear]]:
    ears: list[Ear] = []

    def make(app: Celery, **options: Any) -> Ear:
        ears.append(Ear(app, **options))
        return ears[-1]

    yield make
    for ear in ears:
        ear.close()


Make = Callable[..., Celery]
Listen = Callable[..., Ear]


# -- dispatcher and receiver ------------------------------------------------------------------------------------------------


def test_given_a_receiver_when_events_are_sent_in_every_way_then_it_hears_them_as_celery_would(
    make_app: Make, listen: Listen
) -> None:
    app, other = make_app(), make_app()
    ear = listen(app)
    with other.connection() as connection:
        EventDispatcher(connection, app=other, hostname="me@here").send(type="my_custom_event", number=5)
        other.events.Dispatcher(channel=connection.channel()).send("task-x", uuid="u")
        EventDispatcher(connection).send("worker-blind", blind=True)
    with other.events.default_dispatcher() as dispatcher:
        dispatcher.send(type="custom-task-started")
    one, two, three, four = ear.wait(4)
    assert {**one, "local_received": 0, "timestamp": 0, "clock": 0} == {
        "type": "my_custom_event", "number": 5, "hostname": "me@here", "utcoffset": utcoffset_h(),
        "pid": os.getpid(), "local_received": 0, "timestamp": 0, "clock": 0,
    }  # fmt: skip
    assert abs(one["timestamp"] - time.time()) < PATIENCE_S
    assert (two["uuid"], two["hostname"]) == ("u", f"gen{os.getpid()}@{hostname()}")
    assert three["clock"] is None
    assert four["type"] == "custom-task-started"
    assert app.clock.value > two["clock"]


def test_given_handlers_when_events_come_then_each_goes_to_its_own_and_the_rest_to_the_star(make_app: Make) -> None:
    app = make_app()
    heard: list[tuple[str, str]] = []
    handlers = {
        "a-one": lambda event: heard.append(("one", event["type"])),
        "*": lambda event: heard.append(("*", event["type"])),
    }
    receiver = app.events.Receiver(app.connection(), handlers=handlers)
    captured = receiver.itercapture(limit=3, wakeup=False)
    thread = threading.Timer(0.3, lambda: send(app, "a-one", "a-two", "b"))
    thread.start()
    assert len(list(captured)) == 3
    assert heard == [("one", "a-one"), ("*", "a-two"), ("*", "b")]
    thread.join()


def send(app: Celery, *types: str, **fields: Any) -> None:
    with app.events.Dispatcher() as dispatcher:
        for kind in types:
            dispatcher.send(kind, **fields)


def test_given_silence_when_captured_with_a_timeout_then_timeout_error(make_app: Make) -> None:
    app = make_app()
    with app.connection_for_read() as connection, pytest.raises(TimeoutError, match="no event"):
        app.events.Receiver(connection).capture(timeout=0.2, wakeup=True)


def test_given_a_routing_key_when_events_come_then_only_those_are_heard(make_app: Make, listen: Listen) -> None:
    app = make_app()
    ear = listen(app, routing_key="task.#")
    send(app, "worker-online", "task-one")
    assert [event["type"] for event in ear.wait(1)] == ["task-one"]


def test_given_nodes_when_a_receiver_begins_then_they_are_asked_for_a_heartbeat(make_app: Make) -> None:
    app = make_app()
    with closing(app.stores.open_bus()) as bus, closing(bus.open_mailbox("celery@node")) as node:
        with pytest.raises(TimeoutError):
            app.events.Receiver(app.connection()).capture(timeout=0.05)
        (asked,) = node.receive(PATIENCE_S)
    assert json.loads(asked.body)["method"] == "heartbeat"


def test_given_garbage_when_received_then_it_is_left_out(make_app: Make, listen: Listen) -> None:
    app = make_app()
    ear = listen(app)
    properties = {"delivery_info": {"exchange": "celeryev", "routing_key": "task.multi"}, "body_encoding": "base64"}
    bodies = [b"garbage", b"[]", b"5", b'[{"type": "task-good"}, {"no": "type"}, 7]', b'{"type": "x", "clock": "y"}', b"\xff"]
    with closing(app.stores.open_bus()) as bus:
        bus.emit([Message(body, "application/json", "utf-8", {}, properties) for body in bodies])
        bus.emit([Message(pickle.dumps({"type": "evil"}), "application/x-python-serialize", "binary", {}, properties)])
    send(app, "last")
    assert [event["type"] for event in ear.wait(2)] == ["task-good", "last"]


@pytest.mark.setting("event_exchange")
def test_given_another_event_exchange_when_sent_then_only_those_of_the_same_hear(make_app: Make, listen: Listen) -> None:
    mine, other = make_app(event_exchange="mine"), make_app()
    here, there = listen(mine), listen(other)
    send(mine, "task-mine")
    send(other, "task-other")
    assert [event["type"] for event in here.wait(1)] == ["task-mine"]
    assert [event["type"] for event in there.wait(1)] == ["task-other"]


@pytest.mark.setting("event_serializer")
def test_given_another_serializer_when_sent_then_a_receiver_with_it_hears_and_one_without_does_not(
    make_app: Make, listen: Listen
) -> None:
    mine, other = make_app(event_serializer="yaml"), make_app()
    here, there = listen(mine), listen(other)
    send(mine, "task-yaml", uuid="u")
    send(other, "task-json")
    assert [event["type"] for event in here.wait(2)] == ["task-yaml", "task-json"]
    assert [event["type"] for event in there.wait(1)] == ["task-json"]


def test_given_a_group_to_buffer_when_there_are_enough_then_they_go_as_one_message(make_app: Make) -> None:
    app = make_app()
    waiting: list[str] = []
    with closing(app.stores.open_bus()) as bus, closing(bus.open_events("test")) as mailbox:
        dispatcher = EventDispatcher(
            app=app,
            buffer_group={"task"},
            buffer_limit=3,
            on_send_buffered=lambda: waiting.append("x"),
            groups={"task", "worker"},
        )
        dispatcher.send("task-one", uuid="1")
        dispatcher.send("other-one")
        dispatcher.send("worker-online")
        dispatcher.send("task-two", uuid="2")
        dispatcher.send("task-three", uuid="3")
        dispatcher.send("task-four", uuid="4")
        dispatcher.flush()
        bodies = [json.loads(message.body) for message in read(mailbox, 3)]
        dispatcher.close()
    assert bodies[0]["type"] == "worker-online"
    assert [[event["uuid"] for event in body] for body in bodies[1:]] == [["1", "2", "3"], ["4"]]
    assert len(waiting) == 3


def read(mailbox: Any, count: int) -> list[Message]:
    found: list[Message] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < count and time.monotonic() < deadline:
        found += mailbox.receive(1.0)
    return found


def test_given_a_dispatcher_when_disabled_then_it_sends_nothing_until_enabled(make_app: Make, listen: Listen) -> None:
    app = make_app()
    ear, calls = listen(app), list[str]()
    dispatcher = app.events.Dispatcher(enabled=False)
    dispatcher.on_enabled.add(lambda: calls.append("on"))
    dispatcher.on_disabled.add(lambda: calls.append("off"))
    dispatcher.send("task-silent")
    dispatcher.enable()
    dispatcher.send("task-heard")
    dispatcher.disable()
    dispatcher.disable()
    dispatcher.send("task-silent")
    dispatcher.enable()
    dispatcher.send("task-again")
    dispatcher.close()
    dispatcher.send("task-closed")
    dispatcher.enable()
    dispatcher.send("task-last")
    assert [event["type"] for event in ear.wait(3)] == ["task-heard", "task-again", "task-last"]
    assert calls == ["on", "off", "on", "on"]


def test_given_a_producer_of_ones_own_when_published_then_it_is_called_as_kombus(make_app: Make) -> None:
    calls: list[dict[str, Any]] = []

    class Producer:
        def publish(self, body: Any, **options: Any) -> None:
            calls.append({"body": body, **options})

    dispatcher = EventDispatcher(app=make_app(), hostname="a@b", enabled=False)
    dispatcher.publish("task-sent", {"uuid": "u"}, Producer(), retry=True)
    (call,) = calls
    assert (call["routing_key"], call["exchange"], call["serializer"], call["headers"]) == (
        "task.sent", "celeryev", "json", {"hostname": "a@b"},
    )  # fmt: skip
    assert (call["body"]["type"], call["body"]["uuid"], call["retry"], call["delivery_mode"]) == ("task-sent", "u", True, 1)


# -- task-sent, and events of tasks -------------------------------------------------------------------------------------------


def recorded_fields() -> set[str]:
    vectors = json.loads((RECORDINGS / "events-redis.json").read_text())["vectors"]
    (event,) = [vector["event"] for vector in vectors if vector["id"] == "task-sent"]
    return set(event)


@pytest.mark.setting("task_send_sent_event")
def test_given_sent_events_are_on_when_calls_are_sent_in_every_way_then_each_is_announced(
    make_app: Make, listen: Listen
) -> None:
    app = make_app(task_send_sent_event=True)
    ear = listen(app)
    add = app.tasks["add"]
    ids = [
        add.delay(2, 3).id,
        add.apply_async((1,), {"y": 2}, countdown=60, expires=120, queue="other").id,
        app.send_task("unknown.task", (1,), retry=False).id,
        *(result.id for result in app.send_many([(add, (1, 1)), (add, (2, 2))])),
    ]
    with app.batch():
        ids.append(add.delay(5).id)
    ids += [result.id for result in group(add.s(1, 1), add.s(2, 2)).apply_async().results]
    chained = chain(add.s(1, 1), add.s(2)).apply_async()
    ids.append(chained.parent.id)
    events = {event["uuid"]: event for event in ear.wait(len(ids))}
    assert sorted(events) == sorted(ids)
    first, second = events[ids[0]], events[ids[1]]
    assert set(first) == recorded_fields() | {"local_received"}
    assert {name: first[name] for name in (*RECEIVED, "queue", "exchange", "routing_key", "hostname", "root_id", "type")} == {
        **RECEIVED, "name": "add", "queue": "celery", "exchange": "", "routing_key": "celery", "root_id": ids[0],
        "hostname": f"gen{os.getpid()}@{hostname()}", "type": "task-sent",
    }  # fmt: skip
    assert (second["args"], second["kwargs"], second["queue"]) == ("(1,)", "{'y': 2}", "other")
    assert second["eta"] < second["expires"]


def test_given_sent_events_are_off_when_calls_are_sent_then_nothing_is_announced(make_app: Make, listen: Listen) -> None:
    app = make_app()
    ear = listen(app)
    app.tasks["add"].delay(2, 3)
    send(app, "last")
    assert [event["type"] for event in ear.wait(1)] == ["last"]


def test_given_an_event_that_cannot_be_written_when_a_call_is_sent_then_the_call_stands_and_the_log_says_so_once(
    make_app: Make, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(task_send_sent_event=True, event_serializer="no-such")
    results = [app.tasks["add"].delay(1, 2), *app.send_many([(app.tasks["add"], (1, 1))])]
    with closing(app.stores.open_broker()) as broker:
        (depth,) = broker.depth(["celery"])
    assert depth.ready == len(results) == 2
    assert len([record for record in caplog.records if "task-sent events cannot be sent" in record.getMessage()]) == 1


def test_given_message_protocol_1_when_sent_then_the_event_says_what_the_body_says(make_app: Make, listen: Listen) -> None:
    app = make_app(task_send_sent_event=True, task_protocol=1)
    ear = listen(app)
    result = app.tasks["add"].delay(2, 3)
    (event,) = ear.wait(1)
    assert (event["uuid"], event["name"], event["args"], event["kwargs"]) == (result.id, "add", "(2, 3)", "{}")


def test_given_a_running_call_when_it_sends_an_event_then_it_bears_its_id(make_app: Make, listen: Listen) -> None:
    app = make_app()
    ear = listen(app)

    @app.task(bind=True)
    def slow(self: Any) -> None:
        self.send_event("task-progress", percent=50)

    done = slow.apply(task_id="the-id")
    assert done.successful()
    (event,) = ear.wait(1)
    assert (event["type"], event["uuid"], event["percent"], event["pid"]) == ("task-progress", "the-id", 50, os.getpid())


def test_given_a_forked_child_when_it_sends_events_too_then_both_are_heard(make_app: Make, listen: Listen) -> None:
    app, other = make_app(), make_app()
    if app.stores.broker_url.startswith("memory"):
        pytest.skip("a store in memory belongs to one process")
    ear = listen(app)
    with other.events.default_dispatcher() as dispatcher:
        dispatcher.send("task-parent")
        child = os.fork()
        if child == 0:
            try:
                dispatcher.send("task-child")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        dispatcher.send("task-parent-again")
    events = ear.wait(3)
    assert [event["type"] for event in events] == ["task-parent", "task-child", "task-parent-again"]
    assert events[1]["pid"] == child


# -- a broker that is away ----------------------------------------------------------------------------------------------------


@pytest.mark.redis
def test_given_a_broker_that_is_away_when_events_are_sent_then_they_wait_or_raise() -> None:
    with RedisServer() as server:
        app = Celery("tests", broker=server.url, set_as_current=False)
        buffering, raising = app.events.Dispatcher(), app.events.Dispatcher(buffer_while_offline=False)
        server.kill()
        buffering.send("task-late", number=1)
        with pytest.raises(OperationalError):
            raising.send("task-never")
        heir = app.events.Dispatcher()
        heir.extend_buffer(buffering)
        server.restart()
        with closing(app.stores.open_bus()) as bus, closing(bus.open_events("test")) as mailbox:
            heir.flush()
            (late,) = read(mailbox, 1)
        assert json.loads(late.body)["number"] == 1
        app.close()


# -- cameras ------------------------------------------------------------------------------------------------------------------


def test_given_the_camera_of_the_seed_when_events_come_then_it_takes_pictures_and_clears(make_app: Make) -> None:
    app, other = make_app(), make_app()
    pictures: list[tuple[int, list[str], list[Any]]] = []

    class DumpCamera(Polaroid):
        clear_after = True

        def on_shutter(self, state: State) -> None:
            if not state.event_count:
                return
            workers = [worker.hostname for worker in state.workers.values() if isinstance(worker, Worker) and worker.alive]
            tasks = [(task.id, task.name, task.state) for task in state.tasks.values() if isinstance(task, Task)]
            pictures.append((state.event_count, workers, tasks))
            if sum(count for count, _, _ in pictures) >= 4:
                recv.should_stop = True

    state = app.events.State()

    def work() -> None:
        node = {"freq": 2.0, "active": 0, "processed": 0, "loadavg": [0, 0, 0]}
        with other.events.Dispatcher(hostname="w1@node") as dispatcher:
            dispatcher.send("worker-online", **node)
            dispatcher.send("task-received", uuid="u", **RECEIVED)
            dispatcher.send("task-started", uuid="u")
            dispatcher.send("task-succeeded", uuid="u", result="5", runtime=0.1)

    with app.connection() as connection:
        recv = app.events.Receiver(connection, handlers={"*": state.event})
        thread = threading.Timer(0.3, work)
        thread.start()
        with DumpCamera(state, freq=0.1, app=app):
            recv.capture(limit=None, timeout=None, wakeup=True)
        thread.join()
    assert sum(count for count, _, _ in pictures) == 4
    assert {name for _, workers, _ in pictures for name in workers} == {"w1@node"}
    assert pictures[-1][2] == [("u", "proj.add", "SUCCESS")]
    assert state.event_count == 0
    assert not state.tasks


def test_given_a_camera_when_it_runs_then_signals_cleanup_and_the_greatest_rate_are_kept() -> None:
    app = Celery("tests", broker="memory://camera", set_as_current=False)
    seen: list[str] = []

    class Camera(Polaroid):
        def on_shutter(self, state: State) -> None:
            seen.append("picture")

        def on_cleanup(self) -> None:
            seen.append("cleanup")

    state = State()
    camera = Camera(state, freq=60, maxrate="1/h", cleanup_freq=60, app=app)

    def note(sender: Any, **_: Any) -> None:
        seen.append("signal")

    Camera.shutter_signal.connect(note, sender=state)
    Camera.cleanup_signal.connect(note, sender=state)
    with camera:
        camera.capture()
        camera.capture()
        camera.cleanup()
    assert seen == ["signal", "picture", "signal", "cleanup"]
    with pytest.raises(ValueError, match="rate limit"):
        Camera(state, maxrate="often", app=app)


def test_given_a_picture_that_fails_when_the_next_is_due_then_it_is_taken() -> None:
    taken = threading.Event()
    times = iter([True])

    class Camera(Polaroid):
        def on_shutter(self, state: State) -> None:
            if next(times, False):
                raise RuntimeError("no film")
            taken.set()

    with Camera(State(), freq=0.01, app=Celery("tests", broker="memory://film", set_as_current=False)):
        assert taken.wait(PATIENCE_S)


# -- the state ----------------------------------------------------------------------------------------------------------------


def fed(**options: Any) -> State:
    state = State(**options)
    now = time.time()
    common = {"timestamp": now, "local_received": now, "utcoffset": 0.0, "pid": 3}
    for clock, (kind, fields) in enumerate(
        [
            ("worker-online", {"hostname": "w1@a", "freq": 2.0}),
            ("task-sent", {"hostname": "gen1@c", "uuid": "p", **RECEIVED, "root_id": "p", "parent_id": None}),
            ("task-received", {"hostname": "w1@a", "uuid": "c", **RECEIVED, "root_id": "p", "parent_id": "p"}),
            ("task-succeeded", {"hostname": "w1@a", "uuid": "c", "result": "5", "runtime": 0.5}),
        ],
        1,
    ):
        state.event({"type": kind, "clock": clock, **common, **fields})
    return state


def test_given_a_state_when_pickled_then_it_comes_back_whole() -> None:
    app = Celery("tests", broker="memory://pickle", set_as_current=False)
    for kind in (State, app.events.State):
        state: State = kind()
        vars(state).update(vars(fed()))
        again: State = pickle.loads(pickle.dumps(fed() if kind is State else state))
        assert (again.event_count, again.task_count, again.task_types()) == (4, 1, ["proj.add"])
        assert again.tasks["c"].parent is again.tasks["p"]
        assert list(again.tasks["p"].children) == [again.tasks["c"]]
        assert again.tasks["c"].worker is again.workers["w1@a"]
        assert [uuid for uuid, _ in again.tasks_by_worker("w1@a")] == ["c"]
        assert [task.uuid for task in again.tasks_by_type["proj.add"]] != []
        assert [worker.hostname for worker in again.alive_workers()] == ["w1@a"]


def test_given_a_state_when_asked_in_celerys_ways_then_it_answers() -> None:
    joined: list[str] = []
    left: list[str] = []
    seen: list[str] = []
    state = fed(
        callback=lambda _, event: seen.append(event["type"]),
        on_node_join=lambda worker: joined.append(worker.id),
        on_node_leave=lambda worker: left.append(worker.id),
    )
    assert repr(state) == "<State: events=4 tasks=1>"
    assert [uuid for uuid, _ in state.tasks_by_time(limit=1)] == ["c"]
    assert [uuid for uuid, _ in state.tasks_by_timestamp(reverse=False)] == ["p", "c"]
    assert len(list(state.itertasks(limit=1))) == 1
    assert sorted(task.uuid or "" for task in state.tasks_by_type["proj.add"]) == ["c", "p"]
    assert [task.uuid for task in state.tasks_by_worker["w1@a"]] == ["c"]
    assert state.get_or_create_worker("w1@a", active=7)[0].active == 7
    assert state.get_or_create_worker("w2@a")[1]
    assert state.get_or_create_task("c") == (state.tasks["c"], False)
    assert state.get_or_create_task("new")[1]
    assert (seen[0], joined) == ("worker-online", ["w1@a.3"])
    child = state.tasks["c"]
    assert (child.ready, child.origin, child.root) == (True, "w1@a.3", state.tasks["p"])
    assert child.info(["result"], ["runtime"]) == {"result": "5", "runtime": 0.5}
    assert child.as_dict()["parent"] == "p"
    state.event({"type": "worker-offline", "hostname": "w1@a", "timestamp": 1.0, "local_received": 1.0})
    assert (left, "w1@a" in state.workers) == (["w1@a.3"], False)
    assert state.freeze_while(lambda: state.event_count, clear_after=True) == 5
    assert sorted(state.tasks) == ["new", "p"]
    state.clear(ready=False)
    assert (state.event_count, len(state.tasks), len(state.workers)) == (0, 0, 0)


def test_given_a_handler_for_a_group_when_its_events_come_then_it_takes_the_place_of_ours() -> None:
    state = State()
    state.handlers["custom"] = lambda subject, event: (subject, event["x"])
    assert state.event({"type": "custom-thing", "x": 1}) == (("thing", 1), "thing")
    assert state.event({"type": "other-thing"}) is None


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": None},
        {"type": "task-received"},
        {"type": "task-received", "uuid": 5, "hostname": "h", "timestamp": 1.0, "local_received": 1.0, "clock": 1},
        {"type": "worker-online"},
        {"type": "worker-online", "hostname": 5, "timestamp": 1, "local_received": 1},
        {"type": "worker-online", "hostname": "h", "timestamp": 1.0, "local_received": 1.0, "alive": 1, "heartbeats": 3,
         "event": 4},
        {
            "type": "task-x", "uuid": "u", "hostname": "h", "timestamp": None, "local_received": 1.0, "clock": None,
            "worker": "evil", "event": "evil", "ready": 1, "children": 2, "as_dict": 3, "name": ["x"], "__class__": "y",
        },
    ],
)  # fmt: skip
def test_given_an_event_that_is_wrong_when_noted_then_the_state_goes_on(event: dict[str, Any]) -> None:
    state = fed()
    state.event(event)
    state.event({"type": "task-started", "uuid": "u", "hostname": "h", "timestamp": 2.0, "local_received": 2.0, "clock": 2})
    assert state.tasks["u"].state in ("STARTED", "X")
    assert repr(state.tasks["u"]).startswith("<Task: ")
    assert state.tasks["u"].as_dict()["worker"] is state.workers["h"]
    assert state.event_count == 6


def test_given_heartbeats_when_time_passes_then_a_worker_counts_as_gone() -> None:
    now = time.time()
    worker = Worker("w@a", pid=1, freq=2)
    assert (worker.alive, worker.id, worker.status_string) == (False, "w@a.1", "OFFLINE")
    for age in (9, 8, 7, 5, 6):
        worker.event("heartbeat", now - age, now - age, {})
    assert worker.heartbeats == [now - age for age in (8, 7, 6, 5)]
    assert not worker.alive
    worker.event("heartbeat", now, now, {"active": 3})
    assert (worker.alive, worker.active, worker.heartbeat_expires) == (True, 3, now + 4)
    worker.event("offline", now, now, {})
    assert not worker.alive
    assert heartbeat_expires(10, 5) == 20
    assert pickle.loads(pickle.dumps(worker)) == worker


def test_given_a_clock_that_is_off_when_heard_then_it_is_said_once_a_node(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        Worker("drifting@node").event("heartbeat", 1000.0, 2000.0, {})
    (line,) = [record.getMessage() for record in caplog.records if "drifting@node" in record.getMessage()]
    assert "Substantial drift" in line
    assert "1000 seconds" in line


# -- the rest -----------------------------------------------------------------------------------------------------------------


def test_given_an_event_of_another_time_zone_when_received_then_its_time_is_shifted_to_ours() -> None:
    receiver = EventReceiver(app=Celery("tests", broker="memory://zone", set_as_current=False))
    here_h = time.timezone / 3600
    event = {"type": "worker-x", "timestamp": 10_000.0, "utcoffset": here_h + 2, "clock": 9}
    kind, found = receiver.event_from_message(dict(event), now=lambda: 5.0)
    assert (kind, found["timestamp"], found["local_received"]) == ("worker-x", 10_000.0 - 7200, 5.0)
    assert receiver.clock.value == 10
    assert receiver.event_from_message(dict(event), localize=False)[1]["timestamp"] == 10_000.0
    assert receiver.event_from_message({"type": "task-sent", "clock": 500})[1]["clock"] < 15
    assert receiver.event_from_message({"type": "x"})[1]["clock"] == receiver.clock.value


def test_given_a_queue_that_contradicts_itself_when_made_then_it_is_refused() -> None:
    app = Celery("tests", broker="memory://queue", set_as_current=False)
    with pytest.raises(ImproperlyConfigured, match="exclusive and durable"):
        app.events.Receiver(app.connection(), queue_exclusive=True, queue_durable=True)
    receiver = app.events.Receiver(app.connection(), node_id="me", queue_prefix="pre")
    assert (receiver.queue.name, receiver.exchange.type) == ("pre.me", "topic")
    redis = Celery("tests", broker="redis://nowhere/0", set_as_current=False)
    assert get_exchange(redis.connection(), "x").type == "fanout"


def test_given_an_event_when_made_then_it_has_type_and_time() -> None:
    assert Event("a-b", {"x": 1}, y=2, timestamp=3.0) == {"type": "a-b", "x": 1, "y": 2, "timestamp": 3.0}
    assert Event("a-b")["timestamp"] == pytest.approx(time.time(), abs=PATIENCE_S)


def test_given_an_event_that_lacks_what_all_have_when_dumped_then_there_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    Dumper().on_event({"type": "task-failed"})
    Dumper().on_event({"timestamp": 0, "type": "worker-online", "hostname": "h"})
    assert capsys.readouterr().out == "? [None] task failed  \nh [1970-01-01 00:00:00+00:00] started \n"
