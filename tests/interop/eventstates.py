"""What a `State` made of events, as plain values. Runs under Celery as a program (a JSON line of events in, one of values out),
and under Sedano as a module: the same code looks at both."""

import gc
import json
import sys
import traceback

TASK_FIELDS = (
    "uuid", "name", "state", "received", "sent", "started", "rejected", "succeeded", "failed", "retried", "revoked", "args",
    "kwargs", "eta", "expires", "retries", "result", "exception", "timestamp", "runtime", "traceback", "exchange",
    "routing_key", "clock", "client", "root_id", "parent_id", "id", "origin", "ready", "percent",
)  # fmt: skip
WORKER_FIELDS = ("hostname", "pid", "freq", "heartbeats", "clock", "active", "processed", "loadavg", "sw_ident", "sw_ver", "id")


def look(State, given):
    """Feed the events to a new state and say what it knows. `given`: {"events", "limits"}."""
    joined, left = [], []
    state = State(
        on_node_join=lambda worker: joined.append(worker.hostname),
        on_node_leave=(lambda worker: left.append(worker.hostname)) if given.get("leaving") else None,
        **given.get("limits", {}),
    )
    for event in given["events"]:
        state.event(dict(event))
    gc.collect()  # Celery's tasks are in circles: what was forgotten would still be shown
    return {
        "events": state.event_count,
        "received": state.task_count,
        "workers": {
            name: {field: getattr(worker, field, None) for field in WORKER_FIELDS}
            for name, worker in state.workers.data.items()
        },
        "tasks": {uuid: task_values(task) for uuid, task in state.tasks.data.items()},
        "kept": sorted(state.tasks.data),
        "types": state.task_types(),
        "ordered": [uuid for uuid, _ in state.tasks_by_time()],
        "oldest_first": [uuid for uuid, _ in state.tasks_by_time(reverse=False)],
        "by_type": {name: [uuid for uuid, _ in state.tasks_by_type(name)] for name in state.task_types()},
        "by_worker": {name: by_worker(state, name) for name in sorted(state.workers.data)},
        "indexed": {name: sorted(task.uuid for task in state.tasks_by_type[name]) for name in state.task_types()},
        "joined": joined,
        "left": left,
    }


def by_worker(state, name):
    # Celery's own way over these stumbles over tasks that no worker has.
    return [uuid for uuid, task in state.tasks_by_time() if task.worker is not None and task.worker.hostname == name]


def task_values(task):
    values = {field: getattr(task, field, None) for field in TASK_FIELDS}
    values["worker"] = task.worker.hostname if task.worker is not None else None
    values["children"] = sorted(child.uuid for child in task.children)
    values["parent"] = task.parent.uuid if task.parent else None
    values["root"] = task.root.uuid if task.root else None
    values["info"] = task.info()
    return values


def main():
    from celery.events.state import State  # noqa: PLC0415

    for line in sys.stdin:
        try:
            answer = look(State, json.loads(line))
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
