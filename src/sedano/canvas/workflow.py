"""What chain, group and chord have in common: they go out through the app, as a plan of several calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import GeneratorType
from typing import Any

from sedano import current
from sedano.canvas.freezing import Freezer, Place
from sedano.canvas.shapes import Map
from sedano.canvas.signature import Signature, maybe_signature
from sedano.exceptions import ImproperlyConfigured
from sedano.protocol.ids import new_id


class Workflow(Signature[Any]):
    """A signature of several calls. Applying it sends what can start now; the rest travels with that."""

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Send it. `args` and `kwargs` go to what runs first; what `options` mean stands at each kind of workflow."""
        return self.app.send_workflow(*self._merged(args, kwargs, route_name, options))

    async def aapply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """As `apply_async`, without blocking the event loop."""
        return await self.app.asend_workflow(*self._merged(args, kwargs, None, options))

    def _merged(self, args: Any, kwargs: Any, route_name: str | None, options: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
        if route_name is not None:
            options["route_name"] = route_name
        return self, tuple(args or ()), dict(kwargs or {}), {k: v for k, v in options.items() if v is not None}

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Give all its calls their ids now and return the result that it will have; nothing is sent."""
        place = Place(_id, group_id, group_index, chord, root_id, parent_id)
        frozen, node = Freezer(new_id, self.app.thread_oid).freeze(self, place)
        self._adopt(frozen, node.id)
        return self.app.result_of(node)

    _freeze = freeze

    def _adopt(self, frozen: Map, _result_id: str) -> None:
        """Become what it is when it is frozen."""
        self.update(
            args=tuple(frozen.get("args") or ()),
            kwargs=self._own_kwargs(frozen["kwargs"]),
            options=dict(frozen["options"]),
        )

    @property
    def app(self) -> Any:
        """The app that applies it: its own, else that of its first part that has one, else the process's current one."""
        app = self._app or self._app_of_parts()
        if app is None:
            app = current.get_app()
        if app is None:
            raise ImproperlyConfigured(
                f"{self!r}: there is no app in this process to apply it with. Make one (Celery(...)), or give it: app=app."
            )
        return app

    def _app_of_parts(self) -> Any:
        for part in self._parts():
            app = part._app_of_parts() if isinstance(part, Workflow) else None
            app = app or getattr(part, "_app", None) or getattr(getattr(part, "_type", None), "app", None)
            if app is not None:
                return app
        return None

    def _parts(self) -> Iterable[Any]:
        return ()


def members_of(given: Sequence[Any], what: str, app: Any = None) -> list[Signature[Any]]:
    """Signatures from the arguments of chain() or group(): several, or one iterable of them.

    Raises TypeError for what is no signature.
    """
    if len(given) == 1:
        (only,) = given
        if isinstance(only, Mapping):
            given = [only]
        elif isinstance(only, list | tuple | GeneratorType) or (isinstance(only, Iterable) and not isinstance(only, str)):
            given = list(only)
    return [member_of(each, what, app) for each in given]


def member_of(given: Any, what: str, app: Any = None) -> Signature[Any]:
    """The signature of a map, or of a task, which stands for `task.s()`. Raises TypeError for anything else."""
    if isinstance(given, Mapping):
        return maybe_signature(given, app)  # type: ignore[no-any-return]
    if callable(getattr(given, "s", None)):
        return given.s()  # type: ignore[no-any-return]
    raise TypeError(f"{what} is made of signatures, and {given!r} is none: write task.s(...)")


def without_repeated_module(task: str, text: str) -> str:
    """`proj.tasks.add(1) | proj.tasks.add(2)` as `proj.tasks.add(1) | add(2)`."""
    module, dot, _ = task.rpartition(".")
    if not dot:
        return text
    first, found, rest = text.partition(module + dot)
    return first + found + rest.replace(module + dot, "")
