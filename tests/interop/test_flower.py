"""A real Flower, on a real Celery, cannot tell our nodes from Celery's: pages, answers, tasks, and every action."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from tests.interop import environments
from tests.interop.comparing import shapes_differ
from tests.interop.peers import PROJECT, Peer, Place, engine, folder_for
from tests.servers import RedisServer, is_left_out

pytestmark = [pytest.mark.redis, pytest.mark.celery]

PATIENCE_S = 60.0
OURS, SPARE, THEIRS = "s1@here", "s2@here", "c1@here"


class Flower:
    """A Flower that runs; what it answers over HTTP."""

    def __init__(self, place: Place, *options: str, app: str = "lives") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        python = environments.python_of(environments.flower_of_celery())
        self._log = (place.folder / "flower.log").open("wb")
        self._process = subprocess.Popen(
            [python, "-m", "celery", "-A", app, "flower", f"--port={self._port}", "--address=127.0.0.1",
             "--inspect_timeout=2000", *options],
            cwd=PROJECT,
            env=environments.clean_environment(place.environment(FLOWER_UNAUTHENTICATED_API="true")),
            stdout=self._log,
            stderr=self._log,
        )  # fmt: skip
        self.log = place.folder / "flower.log"

    def ask(self, path: str, form: dict[str, Any] | None = None, *, body: bytes | None = None) -> tuple[int, str]:
        """(status, text); 0 while nobody listens. A `form` or `body` is posted."""
        data = urllib.parse.urlencode(form).encode() if form is not None else body
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", data, method="GET" if data is None else "POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def json(self, path: str) -> Any:
        status, text = self.ask(path)
        assert status == 200, (path, text, self.log.read_text())
        return json.loads(text)

    def act(self, path: str, **form: Any) -> tuple[int, str]:
        """The status and the words of an action's answer. Flower gives a node one second to answer, whatever its options say:
        on a busy machine it is asked again."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            status, text = self.ask(path, form)
            if "Unknown reason" not in text or time.monotonic() > deadline:
                break
        return status, str(json.loads(text)["message"]) if status == 200 else text

    def task(self, task_id: str, state: str) -> dict[str, Any]:
        """The task as soon as it is in this state."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            status, text = self.ask(f"/api/task/info/{task_id}")
            if status == 200 and json.loads(text)["state"] == state:
                found: dict[str, Any] = json.loads(text)
                return found
            assert time.monotonic() < deadline, (task_id, text)
            time.sleep(0.05)

    def close(self) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()
        self._log.close()


class Fleet:
    """Two nodes of ours, a Celery worker and a Flower that has heard of all three. Each worker has a queue of its name."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.nodes = {
            name: place.worker(
                engine(of), name, "-E", "-Q", f"celery,{name.split('@')[0]}", "--with-mingle", app="lives"
            )
            for of, name in (("sedano", OURS), ("sedano", SPARE), ("celery5.7", THEIRS))
        }  # fmt: skip
        self.flower = Flower(place)
        self.peer: Peer = place.peer(engine("celery5.7"))
        for node in self.nodes.values():
            node.wait_ready(PATIENCE_S)
        place.until(lambda: self.flower.ask("/api/workers")[0] == 200)
        place.until_equal(lambda: set(self.flower.json("/api/workers?refresh=1")), set(self.nodes))
        place.until_equal(self.online, dict.fromkeys(self.nodes, True))

    def known(self) -> dict[str, Any]:
        """What Flower is told by each worker that is there; asked about one, it asks for more."""
        found: dict[str, Any] = {}
        for name in self.nodes:
            status, text = self.flower.ask(f"/api/workers?refresh=1&workername={name}")
            found |= json.loads(text) if status == 200 else {}
        return found

    def rows(self) -> list[dict[str, Any]]:
        """The table of the workers' page. Flower keeps those that were shut down in it."""
        found: list[dict[str, Any]] = self.flower.json("/workers?json=1")["data"]
        return found

    def online(self) -> dict[str, bool]:
        return {row["hostname"]: row["status"] for row in self.rows()}

    def send(self, node: str, label: str, task: str, *args: Any, **options: Any) -> str:
        """The id of a call that only this node can take."""
        queue = node.split("@")[0]
        self.peer.ask(
            "app.send_task(task, args, queue=queue, task_id=task_id, **options).id",
            task=f"lives.{task}", args=args, queue=queue, task_id=f"{queue}-{label}", options=options,
        )  # fmt: skip
        return f"{queue}-{label}"

    def close(self) -> None:
        self.flower.close()
        self.place.close()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as server:
        fleet = Fleet(Place(server, 0, folder_for("fleet", tmp_path_factory.mktemp("flower"))))
        try:
            yield fleet
        finally:
            fleet.close()


@pytest.fixture(params=[OURS, THEIRS])
def node(request: pytest.FixtureRequest) -> str:
    """What holds for ours holds for Celery's."""
    return str(request.param)


def test_given_nodes_of_both_when_asked_for_workers_then_all_that_flower_asks_about_them_is_there(fleet: Fleet) -> None:
    about = {"active", "active_queues", "conf", "registered", "reserved", "revoked", "scheduled", "stats", "timestamp"}
    wanted = dict.fromkeys(fleet.nodes, about)
    fleet.place.until_equal(lambda: {name: set(told) for name, told in fleet.known().items()}, wanted)
    columns = {"hostname", "pid", "freq", "heartbeats", "clock", "active", "processed", "loadavg", "sw_ident", "status"}
    fleet.place.until_equal(
        lambda: {row["hostname"]: columns - set(row) for row in fleet.rows() if row["hostname"] in fleet.nodes},
        {name: set() for name in fleet.nodes},
    )


def test_given_a_node_when_its_page_is_opened_then_each_tab_says_the_same_things_about_it(fleet: Fleet) -> None:
    seen = {}
    for node in (OURS, SPARE, THEIRS):
        status, page = fleet.flower.ask(f"/worker/{node}")
        assert status == 200
        head = re.findall(r"<(?:td|th)[^>]*>\s*([A-Za-z][A-Za-z -]*?)\s*</t[dh]>", page)
        seen[node] = {word for word in head if word in ROWS}
    assert seen[OURS] == seen[SPARE] == seen[THEIRS] == ROWS


ROWS = {"Implementation", "Max concurrency", "Processes", "Max tasks per child", "Timeouts", "Writes", "Hostname", "Port"}


@pytest.mark.parametrize("page", ["/", "/workers", "/tasks", "/broker", "/metrics", "/api/queues/length", "/api/task/types"])
def test_given_the_fleet_when_a_page_is_opened_then_it_is_there(fleet: Fleet, page: str) -> None:
    assert fleet.flower.ask(page)[0] == 200


def test_given_the_broker_page_when_it_is_opened_then_the_queues_of_all_are_on_it(fleet: Fleet) -> None:
    queues = {queue["name"] for queue in fleet.flower.json("/api/queues/length")["active_queues"]}
    assert queues >= {"celery", "s1", "s2", "c1"}


LIVES = [
    ("fine", ("fine", 1), {}, "SUCCESS", {"name": "lives.fine", "args": "(1,)", "kwargs": "{}", "result": "2", "retries": 0}),
    ("wrong", ("wrong", "bad"), {}, "FAILURE", {"exception": "ValueError('bad')", "args": "('bad',)", "result": None}),
    ("again", ("again", 1), {}, "SUCCESS", {"retries": 1, "exception": "KeyError('not yet')", "result": "1"}),
    ("eta", ("fine", 2), {"countdown": 600}, "RECEIVED", {"result": None, "args": "(2,)"}),
    ("refused", ("refuse",), {}, "FAILURE", {"exception": "reject requeue=False: no thanks"}),
    ("expired", ("fine", 1), {"expires": -5}, "REVOKED", {"result": None}),
]


@pytest.mark.parametrize(("label", "call", "options", "state", "said"), LIVES, ids=[life[0] for life in LIVES])
def test_given_a_call_when_it_has_its_fate_then_flower_shows_it(
    fleet: Fleet, node: str, label: str, call: tuple[Any, ...], options: dict[str, Any], state: str, said: dict[str, Any]
) -> None:
    if (node, label) == (THEIRS, "again"):
        pytest.skip("Celery's retry may be received before it is told: Flower then shows RETRY for ever")
    task_id = fleet.send(node, label, *call, **options)
    told = fleet.flower.task(task_id, state)
    assert {key: told[key] for key in said} == said
    assert told["worker"] == node
    listed = fleet.flower.json("/api/tasks")[task_id]
    assert (listed["state"], listed["eta"] is None) == (state, label != "eta")
    assert listed["received"] or label == "expired"
    assert bool(listed["runtime"]) == (state == "SUCCESS")
    status, page = fleet.flower.ask(f"/task/{task_id}")
    assert (status, task_id in page) == (200, True)


def test_given_a_call_that_runs_when_flower_revokes_it_then_it_ends(fleet: Fleet, node: str) -> None:
    task_id = fleet.send(node, "slow", "slow", "never")
    assert fleet.flower.task(task_id, "STARTED")["worker"] == node
    running = fleet.flower.json(f"/api/workers?refresh=1&workername={node}")[node]["active"]
    assert [call["id"] for call in running] == [task_id]
    assert fleet.flower.act(f"/api/task/revoke/{task_id}?terminate=1&signal=SIGKILL") == (200, f"Revoked '{task_id}'")
    assert fleet.flower.task(task_id, "REVOKED")["worker"] == node


NO_AUTOSCALE = "Failed to autoscale '{}' worker: ValueError('Autoscale not enabled')"
ACTIONS = [
    ("worker/pool/grow/{}", {"n": 1}, 200, "Growing '{}' worker's pool by 1"),
    ("worker/pool/shrink/{}", {"n": 1}, 200, "Shrinking '{}' worker's pool by 1"),
    ("worker/pool/autoscale/{}", {"min": 1, "max": 4}, 403, NO_AUTOSCALE),
    ("worker/pool/restart/{}", {}, 403, "Failed to restart the '{}' pool: ValueError('Pool restarts not enabled')"),
    ("worker/queue/add-consumer/{}", {"queue": "more"}, 200, "add consumer more"),
    ("worker/queue/cancel-consumer/{}", {"queue": "more"}, 200, "no longer consuming from more"),
    ("task/timeout/lives.late", {"hard": 50, "soft": 40}, 200, "time limits set successfully"),
    ("task/timeout/nosuch", {"hard": 50}, 404, "Unknown task 'nosuch'"),
    ("task/rate-limit/lives.late", {"ratelimit": "700/m"}, 200, "new rate limit set successfully"),
    ("task/rate-limit/nosuch", {"ratelimit": "7/m"}, 404, "Unknown task 'nosuch'"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "form", "status", "words"), ACTIONS, ids=[action[0] + str(action[2]) for action in ACTIONS])
def test_given_a_node_when_flower_acts_on_it_then_its_answer_is_the_one_that_celerys_gives(
    fleet: Fleet, node: str, path: str, form: dict[str, Any], status: int, words: str
) -> None:
    if "task/" in path:
        form = {**form, "workername": node}
    assert fleet.flower.act(f"/api/{path.format(node)}", **form) == (status, words.format(node))


@pytest.mark.parametrize("body", [b'{"args": [4]}', b'{"args": [], "kwargs": {"x": 3, "y": 2}}'])
def test_given_arguments_when_flower_sends_a_call_then_one_of_the_fleet_runs_it(fleet: Fleet, body: bytes) -> None:
    status, text = fleet.flower.ask("/api/task/async-apply/lives.fine", body=body)
    assert status == 200, text
    assert fleet.flower.task(json.loads(text)["task-id"], "SUCCESS")["result"] == "5"


def test_given_no_arguments_when_flower_sends_a_call_then_one_of_the_fleet_runs_it(fleet: Fleet) -> None:
    status, text = fleet.flower.ask("/api/task/async-apply/lives.late", body=b"")
    assert status == 200, text
    task_id = json.loads(text)["task-id"]
    assert fleet.flower.task(task_id, "SUCCESS")["result"] == "'late'"
    assert fleet.flower.json(f"/api/task/result/{task_id}")["result"] == "late"


def test_given_what_flower_knows_of_both_when_compared_then_it_has_the_same_shape(fleet: Fleet) -> None:
    fleet.place.until(lambda: {OURS, THEIRS} <= set(fleet.known()), about=lambda: f"known: {sorted(fleet.known())}")
    workers = fleet.known()
    assert shapes_differ(workers[OURS], workers[THEIRS], ignore=IGNORED) == []
    for node in (OURS, THEIRS):
        assert 0.0 <= float(workers[node]["stats"]["pool"]["writes"]["avg"]) <= 1.0


# Settings are each engine's own, counts are those of the tests before, and a server on a socket is shown with its path.
SOCKET = ("stats.broker.hostname", "stats.broker.port", "stats.broker.uri_prefix")
IGNORED = ("conf", "stats.total", "scheduled", "revoked", "active_queues.paused", *SOCKET)


def test_given_garbage_on_the_channels_of_commands_and_events_when_it_is_heard_then_nodes_and_flower_go_on(
    fleet: Fleet,
) -> None:
    garbage = (b"", b"no json", b"[1, 2", b"\xff\xfe", b"x" * 10_000_000)
    for raw in garbage:
        assert fleet.place.redis.publish("/0.celery.pidbox", raw) >= len(fleet.nodes)
        assert fleet.place.redis.publish("/0.celeryev/worker.heartbeat", raw) >= len(fleet.nodes)
    task_id = fleet.send(OURS, "after-garbage", "fine", 1)
    assert fleet.flower.task(task_id, "SUCCESS")["result"] == "2"
    fleet.place.until(lambda: {OURS, SPARE} <= set(fleet.known()), about=lambda: f"known: {sorted(fleet.known())}")


def test_given_a_node_when_flower_shuts_it_down_then_it_ends_and_is_shown_as_offline(fleet: Fleet) -> None:
    leaver = "s3@here"
    node = fleet.place.worker(engine("sedano"), leaver, "-E", "-Q", "s3", "--with-mingle", app="lives")
    node.wait_ready(PATIENCE_S)
    fleet.place.until(lambda: leaver in fleet.flower.json("/api/workers?refresh=1"))
    assert fleet.flower.act(f"/api/worker/shutdown/{leaver}") == (200, "Shutting down!")
    assert node.wait(PATIENCE_S) == 0
    fleet.place.until_equal(lambda: fleet.online()[leaver], False)
    assert fleet.online()[OURS] is True
