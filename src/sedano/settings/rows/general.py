"""What is accepted, what is imported, which time zone."""

from __future__ import annotations

from sedano.settings.option import Option

ROWS = (
    Option(
        "accept_content",
        "list",
        ("json",),
        "The serializers, by name or MIME type, whose messages are decoded; a message in any other is dead-lettered.",
        old_names=("CELERY_ACCEPT_CONTENT",),
        form="names",
    ),
    Option(
        "result_accept_content",
        "list",
        None,
        "The same list for reading results; unset, `accept_content` is used.",
        old_names=("RESULT_ACCEPT_CONTENT",),
        form="names",
    ),
    Option(
        "enable_utc",
        "bool",
        True,
        "Dates travel in UTC, and UTC is the app's zone when `timezone` is unset; off, that is the machine's zone.",
        old_names=("ENABLE_UTC",),
        documented_names=("CELERY_ENABLE_UTC",),
    ),
    Option(
        "imports",
        "tuple",
        (),
        "Modules that a worker imports at its start, before those of `include`.",
        old_names=("CELERY_IMPORTS",),
        form="modules",
    ),
    Option(
        "include",
        "tuple",
        (),
        "Modules that a worker imports at its start, after those of `imports`; `Celery(include=...)` and `worker -I` set it.",
        old_names=("CELERY_INCLUDE",),
        form="modules",
    ),
    Option(
        "timezone",
        "string",
        None,
        "The app's time zone, by its name in the zone database or as a tzinfo object.",
        old_names=("CELERY_TIMEZONE",),
        form="zone",
    ),
)
