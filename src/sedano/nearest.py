"""The known name that a misspelt one was perhaps meant to be."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The one of `known` that is most like `name`, if one is; `cutoff` from 0 (anything) to 1 (the same)."""
    import difflib  # noqa: PLC0415 - for the texts of errors only: a plain import of Sedano must not pay for it

    found = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def hint(name: str, known: Iterable[str], mark: str = "{!r}") -> str:
    """ " Did you mean 'x'?" with the space before it, or "". `mark` is how the name is written."""
    near = nearest(name, known)
    return f" Did you mean {mark.format(near)}?" if near else ""
