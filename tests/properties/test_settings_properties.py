"""The layers of the settings against the simplest model of them, and spellings against each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedano.settings import NOT_GIVEN, OPTIONS, Settings
from sedano.settings.censor import censored
from sedano.settings.forms import FormError, read_value
from sedano.settings.names import advice
from sedano.settings.table import DOCUMENTED_NAMES, OLD_NAMES

# Those whose value nothing else stands in for.
NAMES = ["task_serializer", "task_acks_late", "worker_concurrency", "result_expires", "mine"]
MAPS = st.dictionaries(st.sampled_from(NAMES), st.integers(), max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def old_spelling(name: str) -> str:
    option = OPTIONS.get(name)
    return option.old_names[0] if option is not None else name


@given(assigned=MAPS, added=st.lists(MAPS, max_size=3), source=MAPS, spelled_old=st.booleans(), read_first=st.booleans())
def test_given_any_layers_when_read_then_the_highest_that_has_a_value_wins(
    assigned: dict[str, int], added: list[dict[str, int]], source: dict[str, int], spelled_old: bool, read_first: bool
) -> None:
    spell = old_spelling if spelled_old else str
    conf = Settings(source={spell(name): value for name, value in source.items()}, environ={})
    if read_first:
        conf.finalize()
    for layer in added:
        conf.add_defaults({spell(name): value for name, value in layer.items()})
    conf.update({spell(name): value for name, value in assigned.items()})

    for name in NAMES:
        layers = [assigned, *reversed(added), source]
        expected: Any = next((layer[name] for layer in layers if name in layer), NOT_GIVEN)
        assert conf.given(name) == expected or conf.given(name) is expected
        if expected is NOT_GIVEN:
            assert conf.get(name) == (OPTIONS[name].default if name in OPTIONS else None)
        else:
            assert conf[name] == getattr(conf, name) == conf[old_spelling(name)] == expected


@given(name=st.sampled_from(sorted(OPTIONS)), value=JSON)
def test_given_any_value_when_read_as_any_setting_then_it_is_a_value_or_a_form_error(name: str, value: Any) -> None:
    try:
        plain = read_value(OPTIONS[name], value)
    except FormError:
        return
    # What was read once reads the same again.
    assert repr(read_value(OPTIONS[name], plain)) == repr(plain)


@given(value=JSON, key=st.sampled_from(["password", "my_api_key", "SECRET"]))
def test_given_any_value_under_a_secret_name_when_censored_then_only_dicts_keep_their_shape(value: Any, key: str) -> None:
    shown = censored(key, value)

    assert isinstance(shown, dict) if isinstance(value, dict) else shown == "********"


@pytest.mark.parametrize("name", sorted({**OLD_NAMES, **DOCUMENTED_NAMES}))
def test_given_any_old_name_when_it_alone_is_given_then_its_setting_has_the_value(name: str) -> None:
    marker = object()
    setting = {**OLD_NAMES, **DOCUMENTED_NAMES}[name]

    assert Settings(source={name: marker}, environ={})[setting] is marker
    assert Settings({name: marker}, environ={})[setting] is marker


@given(name=st.text(alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", max_size=40))
def test_given_any_name_when_advice_is_asked_then_it_is_given_or_not_but_nothing_breaks(name: str) -> None:
    hint = advice(name)

    assert hint is None or hint.endswith(("?", "."))
