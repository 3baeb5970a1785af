"""`app.why(task_id)`: why a call does not run, or how it ended. Reads the stores and asks the nodes; `rules/why.py` decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sedano import states
from sedano.app.queuestates import describe
from sedano.app.tracking import Known, Tracker
from sedano.canvas.outline import Outline, outline_of
from sedano.canvas.progress import Part, progress_of
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import Broker, Found, LeaseRecord, Revoke, Where, cancelled_ids
from sedano.contracts.coordination import revoked_stamps, revoking_stamp
from sedano.exceptions import UnreadableMessage
from sedano.protocol import envelope
from sedano.protocol.call import WORKFLOW_HEADER, Call, read
from sedano.rules.why import CallFacts, Runs, Why, why

if TYPE_CHECKING:
    from sedano.app.base import Celery

ANSWER_S = 1.0
_MOST_MESSAGES = 100_000  # of each kind that are looked at
_MOST_HELD = 10_000
_PLAIN = frozenset({"application/json"})


def ask_why(app: Celery, task_id: str, timeout: float = ANSWER_S) -> Why:
    """The reasons for the call `task_id`. Nodes have `timeout` seconds for each of a few questions. Raises OperationalError."""

    def shown(moment: float) -> str:
        return datetime.fromtimestamp(moment, app.timezone).isoformat(timespec="seconds")

    with Tracker(app) as tracker:
        return why(_facts(app, tracker, task_id, timeout), shown)


def _facts(app: Celery, tracker: Tracker, task_id: str, timeout_s: float) -> CallFacts:
    broker, known = tracker.broker, tracker.known([task_id]).get(task_id)
    queues = sorted({*app.amqp.queues, *broker.queues()})
    found, is_whole = broker.find(task_id, queues, most=_MOST_MESSAGES)
    call = None if found is None else _call(found)
    with closing(app.stores.open_coordination()) as coordination:
        _, orders = coordination.revokes()
        pauses = {pause.queue: pause for pause in coordination.pauses()}
    facts: dict[str, Any] = {
        "id": task_id,
        "now": SYSTEM_CLOCK.wall(),
        "revoked": _revoked(task_id, call, orders),
        "is_whole": is_whole,
        "task": (call.task if call is not None else "") or (known.name if known is not None else ""),
        "looked": _looked(tracker, queues),
    }
    if known is not None:
        facts |= {"state": known.state, "error": known.error, "done": _time(app, known)}
    if found is not None:
        facts |= _message(broker, found, call)
        pause = pauses.get(found.place.queue)
        facts["pause"] = describe(pause) if pause is not None else ""
    if known is not None and known.state in states.READY_STATES:
        return CallFacts(**facts)
    nodes = _Nodes(app, broker.leases(), task_id, timeout_s)
    facts |= nodes.facts(facts.get("queue", ""), facts["task"])
    if found is not None and facts.get("runs") is None and found.place.where in (Where.RESERVED, Where.BEGUN):
        facts["behind"] = nodes.behind(broker, found.place.node, task_id)
    if found is None and facts.get("runs") is None:
        facts |= _workflow(tracker, task_id)
    facts["looked"] = [*facts["looked"], f"what {', '.join(nodes.heard) or 'no node (none answered)'} said"]
    return CallFacts(**facts)


def _call(found: Found) -> Call | None:
    try:
        return read(envelope.decode(found.raw), accept=_PLAIN)
    except UnreadableMessage:
        return None


def _message(broker: Broker, found: Found, call: Call | None) -> dict[str, Any]:
    place = found.place
    facts: dict[str, Any] = {
        "where": place.where.value,
        "queue": place.queue,
        "node": place.node,
        "due": place.due,
        "detail": place.detail,
        "ahead": found.ahead,
    }
    if place.where is Where.READY:
        (depth,) = broker.depth([place.queue])
        facts["ready"] = depth.ready
    if call is not None:
        facts |= {"retries": call.retries, "expires": call.expires, "eta": call.eta}
    return facts


def _revoked(task_id: str, call: Call | None, orders: Sequence[Revoke]) -> str:
    names = frozenset(order.task_id for order in orders)
    if task_id in names:
        return "by its id"
    if call is None:
        return ""
    stamp = revoking_stamp(call, revoked_stamps(names))
    if stamp is not None:
        return f"by the stamp {stamp}"
    cancelled = cancelled_ids(names)
    for workflow in (call.root_id, call.headers.get(WORKFLOW_HEADER)):
        if isinstance(workflow, str) and workflow in cancelled:
            return f"with its workflow {workflow}"
    return ""


def _looked(tracker: Tracker, queues: Sequence[str]) -> list[str]:
    results = "results are off" if tracker.results is None else "the result store"
    return [
        results,
        f"the queues {', '.join(queues) or '(none)'}",
        "what is delayed, parked, a dead letter or in a worker's hands",
    ]


def _time(app: Celery, known: Known) -> str:
    try:
        moment = datetime.fromisoformat(known.done)
    except ValueError:
        return known.done
    return (moment.astimezone(app.timezone) if moment.tzinfo is not None else moment).isoformat(timespec="seconds")


def _workflow(tracker: Tracker, task_id: str) -> dict[str, Any]:
    record = tracker.record(task_id)
    if record is None:
        return {}
    outline: Outline = outline_of(record)
    part = _find(progress_of(outline, tracker.facts(outline)), task_id)
    if part is None or part.status != "waits":
        return {"task": part.task if part is not None else ""}
    return {"task": part.task, "workflow": record.id, "waits_for": part.why}


def _find(tree: Part, task_id: str) -> Part | None:
    return next((part for part in tree.calls() if part.id == task_id), None)


class _Nodes:
    """What the nodes say, whatever these are: what has not the form that Celery's answers have says nothing."""

    def __init__(self, app: Celery, leases: Sequence[LeaseRecord], task_id: str, timeout_s: float) -> None:
        self._app, self._task_id, self._timeout_s = app, task_id, timeout_s
        self._leases = leases
        self._queues = self._ask("active_queues")
        self._known = self._ask("registered", taskinfoitems=["rate_limit"])
        self._found = self._ask("query_task", ids=[task_id])
        self.heard = sorted(self._queues)
        self.silent = sorted({record.node for record in leases} - self._queues.keys())

    def facts(self, queue: str, task: str) -> dict[str, Any]:
        knowing, rates = self._knowing(task)
        facts: dict[str, Any] = {
            "asked": True,
            "nodes": self.heard,
            "consumers": [node for node in self.heard if queue in _names(self._queues[node])],
            "knowing": knowing,
            "rate": rates,
            "silent": self.silent,
        }
        for node, answer in self._found.items():
            state, request = _state(answer, self._task_id)
            if state == "active":
                facts["runs"] = _runs(node, request)
                facts["task"] = str(request.get("type") or task)
            elif state and node not in {record.node for record in self._leases}:
                facts["held_by_celery"] = node
        return facts

    def behind(self, broker: Broker, node: str, task_id: str) -> Runs | None:
        """What runs in the process that has the call in its hands."""
        pids: set[int] = set()
        for record in self._leases:
            if record.node == node and record.held:
                held = broker.held([record.owner], limit=_MOST_HELD)
                if any(delivery.message is not None and delivery.message.headers.get("id") == task_id for delivery in held):
                    pids.add(_pid(record.owner))
        running = self._ask("active", destination=[node]).get(node) if pids else None
        for request in running if isinstance(running, list) else ():
            if isinstance(request, dict) and request.get("worker_pid") in pids and request.get("id") != task_id:
                return _runs(node, request)
        return None

    def _knowing(self, task: str) -> tuple[list[str], str]:
        """The nodes that know the task, and its rate limit there."""
        nodes: list[str] = []
        rate = ""
        for node, names in self._known.items():
            for name in names if isinstance(names, list) else ():
                told, _, more = str(name).partition(" [")
                if told == task:
                    nodes.append(node)
                    rate = more.removesuffix("]").partition("rate_limit=")[2] or rate
        return sorted(nodes), rate

    def _ask(self, command: str, destination: Any = None, **arguments: Any) -> dict[str, Any]:
        replies = self._app.control.broadcast(command, arguments, destination=destination, reply=True, timeout=self._timeout_s)
        return {node: answer for reply in replies or () for node, answer in reply.items()}


def _names(queues: Any) -> set[str]:
    return {str(queue.get("name")) for queue in queues if isinstance(queue, dict)} if isinstance(queues, list) else set()


def _state(answer: Any, task_id: str) -> tuple[str, Mapping[str, Any]]:
    match answer.get(task_id) if isinstance(answer, dict) else None:
        case [str(state), dict(request)]:
            return state, request
        case _:
            return "", {}


def _runs(node: str, request: Mapping[str, Any]) -> Runs:
    since, pid = request.get("time_start"), request.get("worker_pid")
    return Runs(
        node,
        float(since) if isinstance(since, int | float) else None,
        pid if isinstance(pid, int) else None,
        str(request.get("id") or ""),
        str(request.get("name") or ""),
    )


def _pid(owner: str) -> int:
    """Of the process that works under a lease: "<node>/<slot>/<pid>/<random>"."""
    parts = owner.rsplit("/", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() else -1
