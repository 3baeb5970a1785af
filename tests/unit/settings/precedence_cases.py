"""What is done to an app's configuration and what is asked of it then, as data for both sides.

A case is a list of steps: `keywords` (of the constructor; first), `assign` (as `conf.update`), `one` (as `conf.x = v`),
`source` (a dict, and perhaps a namespace), `defaults` (as `add_defaults`), `environ`, `ask` (settings by attribute; their
values are the answer, with "missing" for one that is not there).
"""

from __future__ import annotations

from typing import Any

SOURCE = {"task_default_queue": "from-source", "task_serializer": "yaml", "broker_url": "redis://source"}
OLD_SOURCE = {"CELERY_DEFAULT_QUEUE": "from-source", "CELERY_TASK_SERIALIZER": "yaml", "BROKER_URL": "redis://source"}
PREFIXED = {
    "CELERY_TASK_DEFAULT_QUEUE": "prefixed",
    "CELERY_BROKER_URL": "redis://prefixed",
    "BROKER_HEARTBEAT": 7,
    "CELERYD_MAX_TASKS_PER_CHILD": 3,
    "task_serializer": "yaml",
    "CELERY_ACKS_LATE": True,
    "CELERY_TASK_ACKS_LATE": False,
    "CELERY_MY_OWN": "mine",
    "OTHER": "bare",
}
ASKED = ["task_default_queue", "task_serializer", "broker_url"]

CASES: dict[str, list[tuple[Any, ...]]] = {
    "nothing given": [("ask", [*ASKED, "result_backend", "task_default_exchange", "task_default_routing_key", "timezone"])],
    "source": [("source", SOURCE), ("ask", ASKED)],
    "constructor over source": [("keywords", {"broker": "redis://keyword"}), ("source", SOURCE), ("ask", ASKED)],
    "any keyword over source": [("keywords", {"task_default_queue": "keyword"}), ("source", SOURCE), ("ask", ASKED)],
    "old keyword": [("keywords", {"CELERY_ACKS_LATE": True}), ("source", SOURCE), ("ask", ["task_acks_late"])],
    "changes over source": [("keywords", {"changes": {"task_serializer": "pickle"}}), ("source", SOURCE), ("ask", ASKED)],
    "keyword over changes": [
        ("keywords", {"changes": {"broker_url": "redis://changes"}, "broker": "redis://keyword"}),
        ("ask", ["broker_url"]),
    ],
    "assigned before source": [("one", "task_serializer", "pickle"), ("source", SOURCE), ("ask", ASKED)],
    "assigned after source": [("source", SOURCE), ("one", "task_serializer", "pickle"), ("ask", ASKED)],
    "assigned after reading": [("source", SOURCE), ("ask", ASKED), ("one", "task_serializer", "pickle"), ("ask", ASKED)],
    "assignment over keyword": [
        ("keywords", {"broker": "redis://keyword"}),
        ("one", "broker_url", "redis://assigned"),
        ("ask", ["broker_url"]),
    ],
    "updated": [("source", SOURCE), ("assign", {"task_serializer": "pickle", "task_default_queue": "u"}), ("ask", ASKED)],
    "source after reading": [("ask", ASKED), ("source", SOURCE), ("ask", ASKED)],
    "second source": [("source", SOURCE), ("ask", ASKED), ("source", {"task_serializer": "pickle"}), ("ask", ASKED)],
    "second source before reading": [("source", SOURCE), ("source", {"task_serializer": "pickle"}), ("ask", ASKED)],
    "defaults over source": [("source", SOURCE), ("defaults", {"task_default_queue": "d"}), ("ask", ASKED)],
    "defaults before source": [("defaults", {"task_default_queue": "d"}), ("source", SOURCE), ("ask", ASKED)],
    "defaults after reading": [("source", SOURCE), ("ask", ASKED), ("defaults", {"task_default_queue": "d"}), ("ask", ASKED)],
    "latest defaults": [
        ("defaults", {"task_default_queue": "first", "task_serializer": "yaml"}),
        ("defaults", {"task_default_queue": "second"}),
        ("ask", ASKED),
    ],
    "defaults under assignment": [("defaults", {"task_serializer": "yaml"}), ("one", "task_serializer", "x"), ("ask", ASKED)],
    "defaults by old name": [("defaults", {"CELERY_DEFAULT_EXCHANGE": "e"}), ("ask", ["task_default_exchange"])],
    "exchange and key follow the queue": [
        ("source", {"task_default_queue": "jobs"}),
        ("ask", ["task_default_exchange", "task_default_routing_key"]),
    ],
    "exchange and key given": [
        ("source", {"task_default_queue": "jobs", "task_default_exchange": "e", "task_default_routing_key": "k"}),
        ("ask", ["task_default_exchange", "task_default_routing_key"]),
    ],
    "old names": [("source", OLD_SOURCE), ("ask", [*ASKED, "CELERY_DEFAULT_QUEUE", "BROKER_URL"])],
    "new names asked by old ones": [("source", SOURCE), ("ask", ["CELERY_DEFAULT_QUEUE", "CELERY_TASK_SERIALIZER"])],
    "old names under keyword": [("keywords", {"broker": "redis://keyword"}), ("source", OLD_SOURCE), ("ask", ASKED)],
    "old name assigned": [("source", SOURCE), ("one", "CELERY_DEFAULT_QUEUE", "assigned"), ("ask", ASKED)],
    "old name assigned after reading": [
        ("source", SOURCE),
        ("ask", ASKED),
        ("one", "CELERY_DEFAULT_QUEUE", "assigned"),
        ("ask", ASKED),
    ],
    "mixed, more new": [("source", {**SOURCE, "CELERY_ACKS_LATE": True}), ("ask", ASKED)],
    "mixed, more old": [("source", {**OLD_SOURCE, "task_acks_late": True}), ("ask", ASKED)],
    "mixed evenly": [("source", {"CELERY_ACKS_LATE": True, "task_serializer": "x"}), ("ask", ASKED)],
    "both spellings": [
        ("source", {"CELERY_TASK_RESULT_EXPIRES": 10, "result_expires": 20, "task_serializer": "x"}),
        ("ask", ["result_expires"]),
    ],
    "mixed in update": [
        ("assign", {"CELERY_ACKS_LATE": True, "task_serializer": "x", "result_serializer": "y"}),
        ("ask", ASKED),
    ],
    "old names in update": [("assign", {"CELERY_ACKS_LATE": True, "CELERY_DEFAULT_QUEUE": "o"}), ("ask", ASKED)],
    "mixed in update beside a source": [
        ("source", {"task_default_queue": "q"}),
        ("assign", {"CELERY_ACKS_LATE": True, "task_serializer": "x"}),
        ("ask", ASKED),
    ],
    "mixed in update beside an empty source": [
        ("source", {}),
        ("assign", {"CELERY_ACKS_LATE": True, "task_serializer": "x"}),
        ("ask", ASKED),
    ],
    "namespace": [
        ("source", PREFIXED, "CELERY"),
        (
            "ask",
            [*ASKED, "broker_heartbeat", "worker_max_tasks_per_child", "task_acks_late", "my_own", "CELERY_MY_OWN", "OTHER"],
        ),
    ],
    "namespace with an underscore": [("source", PREFIXED, "CELERY_"), ("ask", ASKED)],
    "lower namespace": [
        ("source", {"celery_task_default_queue": "x", "CELERY_broker_url": "redis://n"}, "celery"),
        ("ask", ASKED),
    ],
    "other namespace": [("source", {"QUEUE_TASK_SERIALIZER": "x", "task_default_queue": "y"}, "QUEUE"), ("ask", ASKED)],
    "namespace under keyword": [("keywords", {"broker": "redis://keyword"}), ("source", PREFIXED, "CELERY"), ("ask", ASKED)],
    "namespace under assignment": [("one", "task_default_queue", "assigned"), ("source", PREFIXED, "CELERY"), ("ask", ASKED)],
    "namespace asked by prefixed names": [("source", PREFIXED, "CELERY"), ("ask", ["CELERY_TASK_DEFAULT_QUEUE"])],
    "namespace assigned by prefixed name": [
        ("keywords", {"namespace": "CELERY"}),
        ("one", "CELERY_TASK_DEFAULT_QUEUE", "assigned"),
        ("ask", ASKED),
    ],
    "environment over all": [
        ("environ", {"CELERY_BROKER_URL": "redis://environ", "CELERY_RESULT_BACKEND": "redis://results"}),
        ("keywords", {"broker": "redis://keyword"}),
        ("source", SOURCE),
        ("one", "broker_url", "redis://assigned"),
        ("ask", ["broker_url", "broker_read_url", "broker_write_url", "result_backend"]),
    ],
    "environment for reading and writing": [
        ("environ", {"CELERY_BROKER_READ_URL": "redis://r", "CELERY_BROKER_WRITE_URL": "redis://w"}),
        ("source", SOURCE),
        ("ask", ["broker_url", "broker_read_url", "broker_write_url"]),
    ],
    "empty environment": [("environ", {"CELERY_BROKER_URL": ""}), ("source", SOURCE), ("ask", ["broker_url"])],
    "read and write follow the broker": [("source", SOURCE), ("ask", ["broker_read_url", "broker_write_url"])],
    "read and write of their own": [
        ("source", {**SOURCE, "broker_read_url": "redis://r"}),
        ("ask", ["broker_read_url", "broker_write_url"]),
    ],
    "time zone of Django": [("source", {"TIME_ZONE": "Europe/Rome"}), ("ask", ["timezone"])],
    "time zone over Django's": [("source", {"TIME_ZONE": "Europe/Rome", "timezone": "UTC"}), ("ask", ["timezone"])],
    "own names": [
        ("source", {"my_thing": 1, "MY_OTHER": 2}),
        ("one", "mine", 3),
        ("ask", ["my_thing", "MY_OTHER", "mine", "none"]),
    ],
    "None is a value": [("source", {"task_default_queue": None}), ("ask", ["task_default_queue", "task_default_exchange"])],
}
