"""`GroupResult`: the results of a group, which may be stored under its id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from sedano import current
from sedano.exceptions import ChordError, ImproperlyConfigured
from sedano.result.base import is_group, parents_of, result_from_tuple
from sedano.result.sets import ResultSet


@is_group
class GroupResult(ResultSet):
    """The results of the group `id`; `parent` is what came before it in a chain."""

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - Celery's name
        results: Iterable[Any] | None = None,
        parent: Any = None,
        **kwargs: Any,
    ) -> None:
        self.id = id
        self.parent = parent
        super().__init__(results, **kwargs)

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """As `ResultSet.get`. Of a chord's body that never ran it raises what a header task raised."""
        try:
            return super().get(*args, **kwargs)
        except ChordError:
            self._throw_of_parents()
            raise

    def _throw_of_parents(self) -> None:
        for node in parents_of(self):
            node.maybe_throw()

    @property
    def children(self) -> list[Any]:
        return self.results

    def save(self, backend: Any = None) -> Any:
        """Store who its members are, for `restore`, as long as results are kept. Returns itself."""
        return (backend or self.backend).save_group(self.id, self)

    def delete(self, backend: Any = None) -> None:
        """Undo `save`. The results stay."""
        (backend or self.backend).delete_group(self.id)

    @classmethod
    def restore(cls, id: str, backend: Any = None, app: Any = None) -> Any:  # noqa: A002 - Celery's name
        """A group that was saved, here or by Celery; None when there is none of that id (any more)."""
        app = app or cls._app or current.get_app()
        if backend is None:
            if app is None:
                raise ImproperlyConfigured(
                    f"GroupResult.restore({id!r}): there is no app in this process to ask. Give it: restore(id, app=app)."
                )
            backend = app.backend
        meta = backend.get_group_meta(id)
        return None if meta is None else result_from_tuple(meta["result"], app)

    def as_tuple(self) -> Any:
        """`((id, parent's tuple), [members' tuples])`: what is stored of it."""
        parent = self.parent.as_tuple() if self.parent is not None else None
        return (self.id, parent), [result.as_tuple() for result in self.results]

    def as_list(self) -> list[Any]:
        """Its id and those of its parents."""
        return [self.id, *(self.parent.as_list() if self.parent is not None else ())]

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return (other.id, other.results, other.parent) == (self.id, self.results, self.parent)
        return self.id == other if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<GroupResult: {self.id} [{', '.join(map(str, self.results))}]>"

    def __reduce__(self) -> Any:
        return GroupResult, (self.id, self.results, self.parent)


S = TypeVar("S", bound=ResultSet)


def bound_to(app: Any, kind: type[S]) -> type[S]:
    """`kind` as a class of `app`: its results ask `app`."""
    made: Any = type(kind.__name__, (kind,), {"_app": app, "__module__": kind.__module__, "__doc__": kind.__doc__})
    bound: type[S] = made
    return bound
