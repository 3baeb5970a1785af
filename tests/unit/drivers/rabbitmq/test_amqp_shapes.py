"""Tables of a known shape are read as any table is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedano.drivers.rabbitmq.errors import Malformed
from sedano.drivers.rabbitmq.properties import decode_properties, encode_properties
from sedano.drivers.rabbitmq.shapes import MOST_SHAPES, Shapes, learn
from sedano.drivers.rabbitmq.tables import encode_table, read_table

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=40), st.floats(allow_nan=False),
    st.lists(st.none(), max_size=3), st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 9), max_size=2),
)  # fmt: skip
TABLES = st.dictionaries(st.sampled_from(["id", "task", "eta", "argsrepr", "retries", "timelimit", "stamps"]), VALUES)


def plain(table: bytes) -> dict[str, Any]:
    return read_table(len(table).to_bytes(4, "big") + table, 0, len(table) + 4)[0]


def bare(values: dict[str, Any]) -> bytes:
    return encode_table(values)[4:]


@given(st.lists(TABLES, min_size=1, max_size=30))
def test_given_tables_of_many_shapes_when_read_one_after_the_other_then_each_is_itself(tables: list[dict[str, Any]]) -> None:
    shapes = Shapes(plain)
    for values in tables:
        table = bare(values)
        assert shapes.read(table) == plain(table) == values


@given(TABLES, st.binary(max_size=20), st.data())
def test_given_a_known_shape_when_a_table_is_cut_or_changed_then_it_is_read_or_refused_as_any(
    values: dict[str, Any], noise: bytes, data: st.DataObject
) -> None:
    table = bare(values)
    shapes = Shapes(plain)
    shapes.read(table)
    at = data.draw(st.integers(0, len(table)))
    broken = table[:at] + noise + table[at + len(noise) :]
    try:
        expected = plain(broken)
    except Exception as exc:  # whatever it is
        with pytest.raises(type(exc)):
            shapes.read(broken)
    else:
        assert repr(shapes.read(broken)) == repr(expected) or shapes.read(broken) == expected  # there may be a NaN


def test_given_a_shape_when_two_tables_have_it_then_they_share_no_list_and_no_map() -> None:
    shapes = Shapes(plain)
    table = bare({"id": "a", "timelimit": [None, None], "stamps": {}})
    first, second = shapes.read(table), shapes.read(table)
    first["timelimit"].append(1)
    first["stamps"]["x"] = 1
    assert (second["timelimit"], second["stamps"]) == ([None, None], {})
    assert shapes.read(table)["timelimit"] == [None, None]


def test_given_more_shapes_than_are_kept_when_read_then_the_latest_are_known() -> None:
    seen: list[bytes] = []

    def counting(table: bytes) -> dict[str, Any]:
        seen.append(table)
        return plain(table)

    shapes = Shapes(counting)
    tables = [bare({f"header-{number}": "x"}) for number in range(MOST_SHAPES + 1)]
    for table in tables:
        shapes.read(table)
    assert len(seen) == MOST_SHAPES + 1
    shapes.read(tables[-1])
    assert len(seen) == MOST_SHAPES + 1
    shapes.read(tables[0])
    assert len(seen) == MOST_SHAPES + 2


def test_given_lists_within_lists_when_learned_then_nothing_is() -> None:
    values = {"id": "a", "deep": [[1]]}
    assert learn(bare(values), values) is None


def test_given_headers_that_are_cut_off_when_read_then_it_is_said() -> None:
    whole = encode_properties({"headers": {"id": "abc"}})
    with pytest.raises(Malformed):
        decode_properties(whole[:-1])
