"""An app as a pickle: the constructor's keywords that make it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sedano.app.base import Celery


def keywords_of(app: Celery) -> dict[str, Any]:
    """Keywords of the constructor; a module among them goes by its name."""
    source = app.config_source
    return {
        "main": app.main,
        "changes": dict(app.conf.changes),
        "config_source": getattr(source, "__name__", source),
        "namespace": app.conf.namespace,
        "set_as_current": app.set_as_current,
        "task_cls": app.task_cls,
        "autofinalize": app.autofinalize,
        "strict_typing": app.strict_typing,
        **{name: value for name, value in app.given.items() if value is not None},
    }


def rebuild(kind: type[Celery], keywords: dict[str, Any], module_file: str | None) -> Celery:
    """The app again, with the embedded store (if it uses one) where the first one had it."""
    app = kind(**keywords)
    app.module_file = module_file
    return app
