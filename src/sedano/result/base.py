"""What all kinds of results are, and how one is made of what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing import Generic

    from typing_extensions import TypeVar as DefaultTypeVar

    R = DefaultTypeVar("R", default=Any)

    class _Result(Generic[R]):
        pass
else:
    R = TypeVar("R")

    class _Result:
        def __class_getitem__(cls, _result: Any) -> type:
            return cls


class ResultBase(_Result[R]):
    """What all kinds of results are."""

    parent: Any = None

    def as_tuple(self) -> Any:
        """What is stored of it: `((id, parent's tuple), members' tuples or None)`."""
        raise NotImplementedError

    def __json__(self) -> Any:
        """A task may return a result: its caller gets the tuple, for `result_from_tuple`."""
        return self.as_tuple()


def parents_of(result: Any) -> list[Any]:
    """What came before it, the first first."""
    parents: list[Any] = []
    node = result.parent
    while node is not None:
        parents.append(node)
        node = node.parent
    return parents[::-1]


K = TypeVar("K", bound=type[Any])

_kinds: dict[str, type[Any]] = {}


def is_single(kind: K) -> K:
    """Class decorator: what `result_from_tuple` makes of a call."""
    _kinds["single"] = kind
    return kind


def is_group(kind: K) -> K:
    """Class decorator: what `result_from_tuple` makes of a group."""
    _kinds["group"] = kind
    return kind


def result_from_tuple(r: Any, app: Any = None) -> Any:
    """A result from `as_tuple()`, with its parents and members; anything that is a result already stays."""
    if isinstance(r, ResultBase):
        return r
    identity, members = r
    task_id, above = identity if isinstance(identity, list | tuple) else (identity, None)
    parent = result_from_tuple(above, app) if above else None
    if members is None:
        return _kinds["single"](task_id, app=app, parent=parent)
    return _kinds["group"](task_id, [result_from_tuple(member, app) for member in members], parent=parent, app=app)
