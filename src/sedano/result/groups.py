"""Results of groups: the names are here for imports and isinstance(), the things themselves come with canvas."""

from __future__ import annotations

from typing import Any

from sedano.result.asyncresult import ResultBase


class ResultSet(ResultBase[Any]):
    """Several results together."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} comes with canvas, which is not built yet")


class GroupResult(ResultSet):
    """The results of a group."""

    @classmethod
    def restore(cls, id: str, backend: Any = None, app: Any = None) -> Any:  # noqa: A002 - Celery's name
        """A group that was saved."""
        del backend, app
        raise NotImplementedError(f"GroupResult.restore({id!r}) comes with canvas, which is not built yet")
