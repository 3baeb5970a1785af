"""What Celery or its companions read or document without declaring it."""

from __future__ import annotations

from sedano.settings.option import WORKS, Option, Type

PYTHON = "not needed: a detached program goes on in the Python that it was started with"


def _row(
    name: str,
    kind: Type,
    default: object,
    sentence: str,
    effect: str,
    *,
    documented: tuple[str, ...] = (),
    form: str = "",
    unit: str = "",
) -> Option:
    return Option(
        name, kind, default, sentence, documented_names=documented, form=form, unit=unit, effect=effect, origin="read"
    )


def _daemon_rows(program: str, effect: str, *, python: str = "", log_name: tuple[str, ...] = ()) -> tuple[Option, ...]:
    def row(key: str, kind: Type, sentence: str, form: str, documented: tuple[str, ...] = ()) -> Option:
        why = python if python and key == "executable" else effect
        return _row(f"{program}_{key}", kind, None, sentence, why, documented=documented, form=form)

    command = f"`{program}`"
    return (
        row("logfile", "string", f"The log file of {command}, as its option --logfile.", "path", log_name),
        row("pidfile", "string", f"The file that holds the process id of {command}.", "path"),
        row("uid", "any", f"The user that {command} runs as.", "text or number"),
        row("gid", "any", f"The group that {command} runs as.", "text or number"),
        row("umask", "any", f"The file mode mask of {command}.", "text or number"),
        row("executable", "string", f"The Python that {command} runs with.", "path"),
    )


ROWS = (
    _row(
        "result_backend_thread_safe",
        "bool",
        False,
        "The threads of a process share one result backend.",
        "not needed: they always do",
    ),
    _row(
        "override_backends",
        "dict",
        None,
        "Result backend classes by the alias that `result_backend` may name.",
        "not yet: `result_backend` takes URLs",
    ),
    _row(
        "redis_backend_health_check_interval",
        "float",
        None,
        "How long a connection may be idle before it is checked.",
        "not needed: a connection is checked by what is asked of it, and asked again on a new one",
        unit="s",
    ),
    _row(
        "redis_backend_credential_provider",
        "any",
        None,
        "An object, or the path of a class, that gives user and password.",
        "not yet: put user and password into the URL",
        documented=("CELERY_REDIS_BACKEND_CREDENTIAL_PROVIDER",),
    ),
    _row(
        "redis_client_name",
        "string",
        None,
        "The name under which the server lists connections to the results.",
        "not yet: connections carry the driver's own names",
    ),
    _row(
        "cassandra_secure_bundle_path",
        "string",
        None,
        "The name under which `cassandra_bundle_path` is documented and read.",
        "not yet: comes with the Cassandra result backend",
        form="path",
    ),
    _row(
        "gcs_threadpool_maxsize",
        "int",
        10,
        "How many threads talk to the store.",
        "not yet: comes with the Google Cloud Storage result backend",
    ),
    _row(
        "firestore_project",
        "string",
        None,
        "The project that counts chords; unset, as `gcs_project`.",
        "not yet: comes with the Google Cloud Storage result backend",
    ),
    _row(
        "visibility_timeout",
        "float",
        None,
        "After how long Redis gives a delivery to somebody else.",
        "not needed: deliveries are leased and renewed for as long as they are held",
        unit="s",
    ),
    *_daemon_rows("worker", WORKS, python=PYTHON, log_name=("CELERYD_LOG_FILE",)),
    *_daemon_rows("beat", WORKS, python=PYTHON, log_name=("CELERYBEAT_LOG_FILE",)),
    *_daemon_rows("events", WORKS, python=PYTHON),
    _row(
        "CELERY_DB_REUSE_MAX",
        "int",
        None,
        "Django: close database connections only after so many tasks.",
        "not yet: comes with the Django integration",
    ),
    _row("TIME_ZONE", "string", None, "Django's time zone, used where `timezone` is unset.", WORKS, form="zone"),
    _row(
        "DJANGO_CELERY_BEAT_TZ_AWARE",
        "bool",
        True,
        "Django: the database scheduler works with aware dates.",
        "not yet: comes with the Django integration",
    ),
)
