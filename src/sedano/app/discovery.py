"""Finding tasks: the modules of `include` and `imports`, and `autodiscover_tasks`. `app.loader` has Celery's names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sedano import signals
from sedano.app import late
from sedano.app.finding import cwd_in_path, import_from_cwd

if TYPE_CHECKING:
    from sedano.app.base import Celery


class Loader:
    """Imports what holds tasks. One per app."""

    override_backends: dict[str, str] = {}  # noqa: RUF012 - Celery's attribute

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.task_modules: set[str] = set()

    @property
    def conf(self) -> Any:
        return self.app.conf

    @property
    def default_modules(self) -> tuple[str, ...]:
        """The modules of `imports` and `include`, each once."""
        conf = self.app.conf
        return tuple(dict.fromkeys((*_words(conf.imports), *_words(conf.include))))

    def import_default_modules(self) -> list[ModuleType]:
        """Import what the app names, and run what `autodiscover_tasks` left to be done. What an import raises comes through."""
        responses = signals.import_modules.send(sender=self.app)
        for _, response in responses:
            if isinstance(response, Exception):
                raise response
        return [self.import_task_module(module) for module in self.default_modules]

    def import_task_module(self, module: str) -> ModuleType:
        self.task_modules.add(module)
        return self.import_from_cwd(module)

    def import_module(self, module: str, package: str | None = None) -> ModuleType:
        return importlib.import_module(module, package)

    def import_from_cwd(self, module: str, package: str | None = None) -> ModuleType:
        del package
        return import_from_cwd(module)

    def autodiscover_tasks(self, packages: Iterable[str], related_name: str | None = "tasks") -> None:
        with cwd_in_path():
            self.task_modules.update(
                module.__name__
                for module in (find_related(package, related_name) for package in packages)
                if module is not None
            )

    def now(self, utc: bool = True) -> Any:
        del utc
        return self.app.now()

    # Celery's hooks for subclasses; nothing here needs them.
    def on_task_init(self, task_id: str, task: Any) -> None: ...
    def on_process_cleanup(self) -> None: ...
    def on_worker_init(self) -> None: ...
    def on_worker_shutdown(self) -> None: ...
    def on_worker_process_init(self) -> None: ...


def autodiscover(
    app: Celery,
    packages: Sequence[str] | Callable[[], Sequence[str]] | None,
    related_name: str | None,
) -> None:
    """Import `<package>.<related_name>` of each package. No packages: those of the framework that the app lives in."""
    names = packages() if callable(packages) else packages
    if names is None:
        names = [name for fixup in app.fixups_done for name in _of_fixup(fixup)] or late.django_packages()
    app.loader.autodiscover_tasks([names] if isinstance(names, str) else names, related_name)


def find_related(package: str, related_name: str | None) -> ModuleType | None:
    """The module `<package>.<related_name>`, None when there is none; errors inside of it come through.

    `package` may itself be a module (it is imported, and holds tasks), or name a class inside a package.
    """
    try:
        module = importlib.import_module(package)
        if not related_name:
            return module
    except ImportError:
        package, _, _ = package.rpartition(".")
        if not package:
            raise
    wanted = f"{package}.{related_name}"
    try:
        return importlib.import_module(wanted)
    except ModuleNotFoundError as exc:
        if exc.name == wanted:
            return None
        raise


def _words(modules: Any) -> tuple[str, ...]:
    return (modules,) if isinstance(modules, str) else tuple(modules or ())


def _of_fixup(fixup: Any) -> list[str]:
    discover = getattr(fixup, "autodiscover_tasks", None)
    return list(discover()) if discover is not None else []
