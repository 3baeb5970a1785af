"""One call that runs a task for many items: `map`, `starmap`; and a group of such calls: `chunks`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sedano.canvas import shapes
from sedano.canvas.group import group
from sedano.canvas.signature import Signature, maybe_signature


class Basemap(Signature[Any]):
    """What `map` and `starmap` have in common."""

    _task_name = ""
    _shown = ""

    def __init__(self, task: Any, it: Iterable[Any], **options: Any) -> None:
        app = options.pop("app", None)
        super().__init__(self._task_name, (), {"task": maybe_signature(task), "it": list(it)}, options, immutable=True, app=app)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Signature[Any]:
        return cls(d["kwargs"]["task"], d["kwargs"]["it"], app=app, **(d.get("options") or {}))

    @property
    def type(self) -> Any:
        return self.app.tasks[self._task_name]

    @property
    def app(self) -> Any:
        return self._app or getattr(self.kwargs["task"], "app", None) or super().app

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Send it, routed as the task that it runs. It is immutable: more arguments change nothing."""
        del args, kwargs
        return super().apply_async((), {}, route_name or shapes.name_of(self.kwargs["task"]), **options)

    def __repr__(self) -> str:
        items = repr(self.kwargs["it"])
        items = items if len(items) <= 100 else items[:97] + "..."
        return f"[{shapes.name_of(self.kwargs['task'])}({self._shown}x) for x in {items}]"


@Signature.register_type()
class xmap(Basemap):  # noqa: N801 - Celery's name
    """`task(x)` for each item, in one call: the list of what they return."""

    _task_name = "celery.map"


@Signature.register_type()
class xstarmap(Basemap):  # noqa: N801 - Celery's name
    """`task(*x)` for each item, in one call: the list of what they return."""

    _task_name = shapes.STARMAP
    _shown = "*"


@Signature.register_type()
class chunks(Signature[Any]):  # noqa: N801 - Celery's name
    """`chunks(task, items, n)`: `n` items a call, each item the arguments of one run; a group of such calls."""

    def __init__(self, task: Any, it: Iterable[Any], n: int, **options: Any) -> None:
        app = options.pop("app", None)
        parts = {"task": maybe_signature(task), "it": list(it), "n": n}
        super().__init__("celery.chunks", (), parts, options, immutable=True, app=app)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Signature[Any]:
        kwargs = d["kwargs"]
        return cls(kwargs["task"], kwargs["it"], kwargs["n"], app=app, **(d.get("options") or {}))

    @classmethod
    def apply_chunks(cls, task: Any, it: Iterable[Any], n: int, app: Any = None) -> Any:
        """Send the chunks of `it`; a `GroupResult`."""
        return cls(task, it, n, app=app)()

    def __call__(self, **options: Any) -> Any:
        """Send it; keyword arguments are options."""
        return self.apply_async(**options)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Send one call for each chunk; a `GroupResult`."""
        return self.group().apply_async(args, kwargs, route_name, **options)

    def apply(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        return self.group().apply(args, kwargs, **options)

    def group(self) -> group:
        """The calls, each an `xstarmap` of at most `n` items."""
        made = group.from_dict(shapes.as_group(self), app=self._app or getattr(self.kwargs["task"], "app", None))
        made.tasks = [xstarmap(each.kwargs["task"], each.kwargs["it"], app=made._app) for each in made.tasks]
        return made
