"""saferepr never raises, stays within bounds, and shows plain values as `repr` does."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sedano.protocol.saferepr import saferepr


class Rude:
    """Raises wherever it is asked anything."""

    def __repr__(self) -> str:
        raise ValueError(self)

    def __hash__(self) -> int:
        return 1


class RudeDict(dict[Any, Any]):
    def items(self) -> Any:
        raise RuntimeError


class RudeList(list[Any]):
    def __iter__(self) -> Any:
        raise RuntimeError


class RudeText(str):
    def __str__(self) -> str:
        raise RuntimeError

    __slots__ = ()


def huge() -> int:
    """More digits than Python is willing to write."""
    return 10**5000


leaves = (
    st.none()
    | st.integers()
    | st.floats()
    | st.text(max_size=50)
    | st.binary(max_size=50)
    | st.builds(huge)
    | st.builds(Rude)
    | st.builds(lambda: RudeDict(a=1))
    | st.builds(lambda: RudeList([1]))
    | st.builds(RudeText, st.text())
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers() | st.text(max_size=5) | st.builds(Rude), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(values, st.integers(1, 300), st.integers(0, 5))
def test_given_any_value_when_shown_then_nothing_is_raised_and_the_text_is_bounded(
    value: Any, maxlen: int, levels: int
) -> None:
    text = saferepr(value, maxlen, levels)
    # The last token may be as long as the room it found, doubled when every character of it needs a backslash; an object that
    # cannot be shown says so at some length; brackets that are open are closed.
    assert len(text) <= 3 * maxlen + 400


@given(values)
def test_given_no_limit_when_shown_then_nothing_is_raised(value: Any) -> None:
    assert isinstance(saferepr(value, None, 0), str)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc xyz", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(plain)
def test_given_plain_values_when_shown_whole_then_the_text_is_their_repr(value: Any) -> None:
    assert saferepr(value, None, 0) == repr(value)


def test_given_a_container_inside_itself_when_shown_then_it_ends() -> None:
    loop: list[Any] = [1]
    loop.append({"again": loop})
    assert saferepr(loop, None, 0) == f"[1, {{'again': <Recursion on list with id={id(loop)}>}}]"
