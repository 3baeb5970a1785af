"""Where results are kept, how and how long."""

from __future__ import annotations

from datetime import timedelta

from sedano.settings.option import Option

CHORDS = "not needed: every store counts the parts itself, and who completes a chord reads them at once"
PENDING = "not needed: a result that cannot be stored stays with its settlement and is stored when the store is back"

ROWS = (
    Option(
        "result_backend",
        "string",
        None,
        "Where results are kept; unset, nowhere, or with the embedded broker in the embedded store. "
        "In the environment `CELERY_RESULT_BACKEND` wins.",
        old_names=("CELERY_RESULT_BACKEND",),
        form="any",
    ),
    Option(
        "result_cache_max",
        "int",
        -1,
        "How many results a client remembers; -1: none, None or 0: all.",
        old_names=("CELERY_MAX_CACHED_RESULTS",),
        effect="not needed: each result object remembers its own final answer",
    ),
    Option(
        "result_compression",
        "string",
        None,
        "How stored results are compressed.",
        old_names=("CELERY_RESULT_COMPRESSION",),
    ),
    Option(
        "result_exchange",
        "string",
        "celeryresults",
        "The exchange of results sent as messages.",
        old_names=("CELERY_RESULT_EXCHANGE",),
        effect="not needed: a result that is sent goes straight to the queue of its caller, as with Celery",
    ),
    Option(
        "result_exchange_type",
        "string",
        "direct",
        "The kind of that exchange.",
        old_names=("CELERY_RESULT_EXCHANGE_TYPE",),
        effect="not needed: a result that is sent goes straight to the queue of its caller, as with Celery",
    ),
    Option(
        "result_expires",
        "float",
        timedelta(days=1),
        "How long a result is kept; None or 0: for ever.",
        old_names=("CELERY_TASK_RESULT_EXPIRES",),
        documented_names=("CELERY_RESULT_EXPIRES",),
        unit="s",
        minimum=0,
    ),
    Option(
        "result_chord_expires",
        "float",
        None,
        "How long the bookkeeping of a chord is kept; unset, as results.",
        old_names=("CELERY_RESULT_CHORD_EXPIRES",),
        unit="s",
        minimum=0,
    ),
    Option(
        "result_failure_expires",
        "float",
        None,
        "How long the result of a failed call is kept; unset, as any other.",
        old_names=("CELERY_RESULT_FAILURE_EXPIRES",),
        unit="s",
        minimum=0,
    ),
    Option(
        "result_persistent",
        "bool",
        None,
        "Results sent as messages survive a restart of the broker.",
        old_names=("CELERY_RESULT_PERSISTENT",),
    ),
    Option(
        "result_extended",
        "bool",
        False,
        "Keep name, arguments, worker, retries and queue of a call with its result.",
        old_names=("CELERY_RESULT_EXTENDED",),
    ),
    Option(
        "result_serializer",
        "string",
        "json",
        "How results are written.",
        old_names=("CELERY_RESULT_SERIALIZER",),
    ),
    Option(
        "result_backend_transport_options",
        "dict",
        {},
        "Options for the driver of the results, such as `global_keyprefix`.",
        old_names=("CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS",),
    ),
    Option(
        "result_chord_retry_interval",
        "float",
        1.0,
        "How often a chord without native counting is looked at.",
        old_names=("CELERY_RESULT_CHORD_RETRY_INTERVAL",),
        unit="s",
        effect=CHORDS,
    ),
    Option(
        "result_chord_join_timeout",
        "float",
        3.0,
        "How long collecting the results of a chord's header may take.",
        old_names=("CELERY_RESULT_CHORD_JOIN_TIMEOUT",),
        unit="s",
        effect=CHORDS,
    ),
    Option(
        "result_backend_max_sleep_between_retries_ms",
        "int",
        10000,
        "The longest pause between two attempts to reach the result backend.",
        old_names=("CELERY_RESULT_BACKEND_MAX_SLEEP_BETWEEN_RETRIES_MS",),
        unit="ms",
        effect=PENDING,
    ),
    Option(
        "result_backend_max_retries",
        "float",
        float("inf"),
        "How often the result backend is tried again.",
        old_names=("CELERY_RESULT_BACKEND_MAX_RETRIES",),
        effect=PENDING,
    ),
    Option(
        "result_backend_base_sleep_between_retries_ms",
        "int",
        10,
        "The first pause between two attempts to reach the result backend.",
        old_names=("CELERY_RESULT_BACKEND_BASE_SLEEP_BETWEEN_RETRIES_MS",),
        unit="ms",
        effect=PENDING,
    ),
    Option(
        "result_backend_always_retry",
        "bool",
        False,
        "Try again when the result backend fails in a way that may pass.",
        old_names=("CELERY_RESULT_BACKEND_ALWAYS_RETRY",),
        effect=PENDING,
    ),
)
