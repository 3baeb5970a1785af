"""Calls to route, as data for both sides: `record_routes.py` runs them through a real Celery, the tests through ours.

`cases(Queue, Exchange)` gives name -> case. A case: `conf` (settings), `task` (name), `options` (of the call), `args`,
`kwargs`. Every case is made afresh, because Celery changes what it is given.
"""

from __future__ import annotations

import re
from typing import Any


def by_argument(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
    """A router function: the tenant in the arguments names the queue."""
    if kwargs and "tenant" in kwargs:
        return {"queue": f"tenant-{kwargs['tenant']}", "priority": len(args)}
    return None


def by_name(name: str, *_: Any, **__: Any) -> Any:
    """A router function that answers with the queue's name."""
    return name.replace(".", "-") if name.startswith("named.") else None


def nowhere(*_: Any, **__: Any) -> Any:
    """A router function that answers with an empty route: the default queue, no other router is asked."""
    return {}


def echo_options(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
    """A router function that looks at the options of the call."""
    return {"queue": "urgent"} if options.get("priority", 0) > 5 else None


class OldRouter:
    """A router of the old kind."""

    def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> Any:
        return {"queue": "old-style", "routing_key": "old.key"} if task.startswith("old.") else None


def cases(Queue: Any, Exchange: Any) -> dict[str, dict[str, Any]]:
    topic = {
        "task_queues": [
            Queue("default", routing_key="task.#"),
            Queue("feeds", Exchange("media", type="topic"), routing_key="feed.#"),
            Queue("mail", Exchange("mail"), routing_key="mail"),
        ],
        "task_default_queue": "default",
        "task_default_exchange": "tasks",
        "task_default_exchange_type": "topic",
        "task_default_routing_key": "task.default",
    }
    strict = {"task_create_missing_queues": False, "task_queues": [Queue("emails"), Queue("celery")]}
    routes = {
        "proj.exact": {"queue": "exact", "routing_key": "exact.key"},
        "proj.*": {"queue": "glob"},
        "proj.other": "other",
        re.compile(r"(video|image)\..*"): {"queue": "media", "priority": 7},
        "*.tail": "tail",
    }

    def case(task: str = "proj.add", options: Any = None, args: Any = (), kwargs: Any = None, **conf: Any) -> dict[str, Any]:
        return {"conf": conf, "task": task, "options": options or {}, "args": args, "kwargs": kwargs or {}}

    return {
        "nothing configured": case(),
        "default queue renamed": case(task_default_queue="jobs"),
        "default exchange and key": case(task_default_exchange="ex", task_default_routing_key="rk"),
        "default exchange topic": case(
            task_default_exchange="ex", task_default_exchange_type="topic", task_default_routing_key="a.b"
        ),
        "default delivery mode": case(task_default_delivery_mode="transient"),
        "exact name before patterns": case("proj.exact", task_routes=routes),
        "exact name with a string": case("proj.other", task_routes=routes),
        "glob": case("proj.deep.name", task_routes=routes),
        "regular expression": case("video.encode", task_routes=routes),
        "regular expression does not search": case("my.video.encode", task_routes=routes),
        "glob at the front": case("some.tail", task_routes=routes),
        "question mark is no glob": case("proj1.a", task_routes={"proj?.a": "q"}),
        "no pattern fits": case("unrouted", task_routes=routes),
        "first pattern wins": case("a.b.c", task_routes=[[("a.*", "first"), ("a.b.*", "second")]]),
        "list of pairs in a tuple": case("a.b", task_routes=([("a.*", {"queue": "pairs"})],)),
        "dict in a list": case("a.b", task_routes=[{"a.b": "listed"}]),
        "list of dicts in order": case("a.b", task_routes=[{"x": "no"}, {"a.*": "one"}, {"a.b": "two"}]),
        "function": case("any.name", args=(1, 2), kwargs={"tenant": "x"}, task_routes=by_argument),
        "function says None": case("any.name", task_routes=by_argument),
        "function in a list": case("any", kwargs={"tenant": "x"}, task_routes=(by_argument, {"any": "dict"})),
        "function then dict": case("any", task_routes=(by_argument, {"any": "dict"})),
        "function returns a name": case("named.one", task_routes=[by_name]),
        "function returns an empty route": case("a", task_routes=[nowhere, {"a": "never"}]),
        "function sees options": case("a", {"priority": 9}, task_routes=[echo_options]),
        "old router object": case("old.a", task_routes=[OldRouter()]),
        "old router object says None": case("new.a", task_routes=[OldRouter()]),
        "dotted path to a function": case("named.two", task_routes="routing_cases.by_name"),
        "dotted path with a colon": case("named.three", task_routes=["routing_cases:by_name"]),
        "dotted path to an old router class": case("old.b", task_routes=["routing_cases.OldRouter"]),
        "route with a Queue object": case("a", task_routes={"a": {"queue": Queue("obj", Exchange("e", "topic"), "k")}}),
        "route value as pairs": case("a", task_routes={"a": [("queue", "paired"), ("priority", 3)]}),
        "route without a queue": case("a", task_routes={"a": {"priority": 4}}),
        "route with exchange and key": case("a", task_routes={"a": {"exchange": "ex", "routing_key": "rk"}}),
        "route with exchange type": case(
            "a", task_routes={"a": {"exchange": "ex", "exchange_type": "topic", "routing_key": "r.k"}}
        ),
        "route with exchange only": case("a", task_routes={"a": {"exchange": "ex"}}),
        "route with options": case("a", task_routes={"a": {"queue": "q", "serializer": "pickle", "expires": 5}}),
        "call queue wins": case("proj.exact", {"queue": "mine"}, task_routes=routes),
        "call routing key wins over the route's": case("proj.exact", {"routing_key": "mine"}, task_routes=routes),
        "call options that are None do not win": case("proj.exact", {"queue": None, "routing_key": None}, task_routes=routes),
        "call queue as an object": case("a", {"queue": Queue("objq", Exchange("objx", "topic"), "objk")}),
        "call queue without routes": case("a", {"queue": "mine", "priority": 2}),
        "call exchange and key": case("a", {"exchange": "ex", "routing_key": "rk"}),
        "call exchange without key": case("a", {"exchange": "ex"}),
        "call key only": case("a", {"routing_key": "rk"}),
        "call exchange as an object": case("a", {"exchange": Exchange("ex", "topic"), "routing_key": "r.k"}),
        "topic: default": case("a", **topic),
        "topic: queue by name": case("a", {"queue": "feeds"}, **topic),
        "topic: queue and key": case("a", {"queue": "feeds", "routing_key": "feed.new"}, **topic),
        "topic: direct queue among them": case("a", {"queue": "mail"}, **topic),
        "topic: route to queue with a key": case("f", task_routes={"f": {"queue": "feeds", "routing_key": "feed.x"}}, **topic),
        "topic: key only": case("a", {"routing_key": "feed.top"}, **topic),
        "topic: missing queue": case("a", {"queue": "made-up"}, **topic),
        "missing queue with an exchange type": case("a", {"queue": "mq"}, task_create_missing_queue_exchange_type="topic"),
        "missing quorum queue": case("a", {"queue": "mq"}, task_create_missing_queue_type="quorum"),
        "strict: known": case("a", {"queue": "emails"}, **strict),
        "strict: default": case("a", **strict),
        "strict: unknown in the call": case("a", {"queue": "email"}, **strict),
        "strict: unknown in a route": case("a", task_routes={"a": "nope"}, **strict),
        "strict: default not listed": case("a", task_create_missing_queues=False, task_queues=[Queue("other")]),
        "queues as a dict": case(
            "a", {"queue": "d"}, task_queues={"d": {"exchange": "dx", "exchange_type": "topic", "binding_key": "d.#"}, "e": {}}
        ),
        "queues as a dict, empty options": case("a", {"queue": "e"}, task_queues={"d": {}, "e": {}}),
        "queue alias": case("a", {"queue": "nick"}, task_queues=[Queue("full-name", alias="nick")]),
        "highest priority": case("a", {"queue": "x"}, task_queue_max_priority=9, task_queues=[Queue("x")]),
        "quorum default": case("a", task_default_queue_type="quorum"),
        "fanout exchange": case("a", {"queue": "f"}, task_queues=[Queue("f", Exchange("fx", "fanout"))]),
        "delivery mode of the exchange": case("a", {"queue": "t"}, task_queues=[Queue("t", Exchange("t", delivery_mode=1))]),
        "delivery mode of the call": case("a", {"delivery_mode": 1}),
    }
