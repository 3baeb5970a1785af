"""The scheduler."""

from __future__ import annotations

from sedano.settings.option import Option

ROWS = (
    Option(
        "beat_enable_remote_control",
        "bool",
        False,
        "Beat answers `inspect ping` too.",
        old_names=("CELERYBEAT_ENABLE_REMOTE_CONTROL",),
    ),
    Option(
        "beat_remote_control_max_tick_age",
        "float",
        None,
        "Beat stops answering when its last tick is older than this.",
        old_names=("CELERYBEAT_REMOTE_CONTROL_MAX_TICK_AGE",),
        unit="s",
    ),
    Option(
        "beat_max_loop_interval",
        "float",
        0,
        "How long beat sleeps at most; 0: as its scheduler says.",
        old_names=("CELERYBEAT_MAX_LOOP_INTERVAL",),
        unit="s",
    ),
    Option(
        "beat_schedule",
        "dict",
        {},
        "What is sent when: entry name -> task, schedule, arguments, options.",
        old_names=("CELERYBEAT_SCHEDULE",),
    ),
    Option(
        "beat_scheduler",
        "string",
        "celery.beat:PersistentScheduler",
        "The class that keeps the schedule.",
        old_names=("CELERYBEAT_SCHEDULER",),
        form="any",
    ),
    Option(
        "beat_schedule_filename",
        "string",
        "celerybeat-schedule",
        "The file in which beat remembers its last runs.",
        old_names=("CELERYBEAT_SCHEDULE_FILENAME",),
        form="path",
    ),
    Option(
        "beat_sync_every",
        "int",
        0,
        "After how many tasks sent beat saves its state; 0: by time alone.",
        old_names=("CELERYBEAT_SYNC_EVERY",),
    ),
    Option(
        "beat_cron_starting_deadline",
        "int",
        None,
        "A crontab run that was missed by more than this is not caught up.",
        old_names=("CELERYBEAT_CRON_STARTING_DEADLINE",),
        unit="s",
    ),
)
