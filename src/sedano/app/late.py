"""The doors that lead up from the app, and to what a plain import must not pay for: opened on use, by name.

Up: `app.Worker`, `app.Beat`, `app.worker_main`, `app.start`, a worker's beat. Aside: asyncio, which takes longer to import
than all the rest, Django, and the bug report.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Coroutine, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sedano import current, signals
from sedano.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from sedano.app.base import Celery
    from sedano.contracts.queues import QueueSpec
    from sedano.contracts.settlement import Outgoing


def current_app() -> Celery:
    """The process's current app. Raises ImproperlyConfigured when no app was made."""
    app: Celery | None = current.get_app()
    if app is None:
        raise ImproperlyConfigured(
            "there is no app in this process: make one first, app = Celery('proj', broker='redis://localhost:6379/0'), or"
            " import the module that makes it"
        )
    return app


# -- up -------------------------------------------------------------------------------------------------------------------


def make_log(app: Celery, kind: Any) -> Any:
    """`app.log`; `kind` is a class of the user's own, None for ours."""
    return (kind or importlib.import_module("sedano.worker.applog").Logging)(app)


def worker_class(app: Celery) -> Any:
    """The class of `app`'s worker nodes; see `sedano.worker.controller`."""
    return app.subclass_with_self(importlib.import_module("sedano.worker.controller").WorkController, name="Worker")


def beat_class(app: Celery) -> Any:
    """The class of `app`'s beats; see `sedano.beat.program`."""
    return app.subclass_with_self(importlib.import_module("sedano.beat.program").Beat)


def embedded_beat(app: Celery, **options: Any) -> Any:
    """A beat in a thread of its own, for a worker's process; see `sedano.beat.service.EmbeddedService`."""
    return importlib.import_module("sedano.beat.service").EmbeddedService(app, **options)


def run_command(app: Celery, argv: Sequence[str] | None) -> int:
    """The `sedano` command with this app for `-A`; returns its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    code: int = importlib.import_module("sedano.cli.main").main(["-A", name_of(app), *words])
    return code


def workflows_of(app: Celery) -> Any:
    """`app.workflows`: no sending process needs it."""
    return importlib.import_module("sedano.app.flows").Workflows(app)


def why(app: Celery, task_id: str, timeout: float) -> Any:
    """See `why.py`: no sending process needs it."""
    return importlib.import_module("sedano.app.why").ask_why(app, task_id, timeout)


def name_of(app: Celery) -> str:
    """`module:attribute` under which this process can find `app`; a module is made for one that no module holds."""
    for name, module in sorted(sys.modules.items(), key=lambda item: item[0] == "__main__"):
        if name.partition(".")[0] == "sedano":
            continue
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if value is app:
                return f"{name}:{attribute}"
    holder = ModuleType(f"sedano_app_{id(app):x}")
    holder.__dict__["app"] = app
    sys.modules[holder.__name__] = holder
    return f"{holder.__name__}:app"


# -- aside ----------------------------------------------------------------------------------------------------------------


def bugreport(app: Celery) -> str:
    """See `reporting.py`."""
    text: str = importlib.import_module("sedano.app.reporting").bugreport(app)
    return text


# -- asyncio --------------------------------------------------------------------------------------------------------------


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end in this thread (or beside it, when a loop runs here) and return its result."""
    return importlib.import_module("sedano.app.coroutines").run(coroutine)


def run_receiver(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """See `coroutines.py`."""
    return importlib.import_module("sedano.app.coroutines").run_receiver(coroutine)


signals.finish = run_receiver


async def publish_async(
    app: Celery, messages: Sequence[Outgoing], declare: Sequence[QueueSpec], *, retry: bool, policy: Mapping[str, Any]
) -> None:
    """As `Sender.publish`, through the I/O thread."""
    iothread = importlib.import_module("sedano.app.iothread")
    await iothread.publish(app.sender, messages, declare, retry=retry, policy=policy)


async def in_thread(function: Any, *args: Any) -> Any:
    """Call a blocking function in a thread of asyncio's pool."""
    return await importlib.import_module("asyncio").to_thread(function, *args)


# -- functions ------------------------------------------------------------------------------------------------------------


def is_coroutine_function(function: Any) -> bool:
    """As `inspect.iscoroutinefunction`."""
    answer: bool = importlib.import_module("inspect").iscoroutinefunction(function)
    return answer


def merge_changed(
    function: Any, old: tuple[Sequence[Any], Mapping[str, Any]], new: tuple[Sequence[Any] | None, Mapping[str, Any] | None]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """See `parameters.py`."""
    merged: tuple[Sequence[Any], Mapping[str, Any]] = importlib.import_module("sedano.app.parameters").merge_changed(
        function, old, new
    )
    return merged


def takes_more_than_one(function: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> bool:
    """See `parameters.py`."""
    answer: bool = importlib.import_module("sedano.app.parameters").takes_more_than_one(function, args, kwargs)
    return answer


def binder(function: Any) -> Any:
    """See `parameters.py`."""
    return importlib.import_module("sedano.app.parameters").binder(function)


def randrange(stop: int) -> int:
    """As `random.randrange`."""
    number: int = importlib.import_module("random").randrange(stop)
    return number


# -- frameworks -----------------------------------------------------------------------------------------------------------


def django_packages() -> list[str]:
    """The installed apps of the Django project that this process belongs to; [] outside of one."""
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        return []
    try:
        registry = importlib.import_module("django.apps").apps
    except ModuleNotFoundError as exc:
        if exc.name is not None and exc.name.partition(".")[0] == "django":
            return []
        raise
    if not registry.ready:
        importlib.import_module("django").setup()
    return [config.name for config in registry.get_app_configs()]
