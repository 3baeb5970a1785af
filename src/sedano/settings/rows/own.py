"""What Celery does not have."""

from __future__ import annotations

from sedano.settings.option import Option

ROWS = (
    Option(
        "worker_lease_time",
        "float",
        20.0,
        "How long the renewals of a worker must stand still before others take over what it held.",
        unit="s",
        minimum=0.5,
        origin="sedano",
    ),
    Option(
        "task_max_deliveries",
        "int",
        5,
        "How often a late-acknowledged call may lose its process before it is dead-lettered; 0: without end.",
        minimum=0,
        origin="sedano",
    ),
    Option(
        "task_unknown_timeout",
        "float",
        600.0,
        "How long a call whose task no worker knows is parked before it fails; 0: it fails at once, as in Celery.",
        unit="s",
        minimum=0,
        origin="sedano",
    ),
    Option(
        "task_dead_retention",
        "float",
        7 * 86400.0,
        "How long a dead letter is kept; None: for ever; 0: failures leave none, but what nobody could run stays.",
        unit="s",
        minimum=0,
        origin="sedano",
    ),
    Option(
        "task_dead_max_bytes",
        "int",
        256 * 1024 * 1024,
        "How much the dead letters of a queue may hold; the oldest go first, the newest stays; None: no limit.",
        unit="bytes",
        minimum=0,
        origin="sedano",
    ),
    Option(
        "task_workflow_max_bytes",
        "int",
        64 * 1024 * 1024,
        "How much the records of workflows may hold, which `sedano workflow` shows; the oldest go first; 0: none are written.",
        unit="bytes",
        minimum=0,
        origin="sedano",
    ),
    Option(
        "worker_drain_timeout",
        "float",
        None,
        "How long a warm stop waits for running tasks before it becomes a cold one; unset: as long as they take.",
        unit="s",
        minimum=0,
        origin="sedano",
    ),
    Option(
        "worker_window_time",
        "float",
        0.02,
        "How much predicted work a pool process begins in one step.",
        unit="s",
        minimum=0,
        origin="sedano",
    ),
    Option(
        "worker_long_task_time",
        "float",
        0.05,
        "When one call has run for so long, those begun with it that have not started are given back.",
        unit="s",
        minimum=0,
        origin="sedano",
    ),
)
