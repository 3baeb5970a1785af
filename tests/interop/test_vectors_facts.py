"""What Kombu and Celery made of single values (recordings/facts-*.json), made by us."""

from __future__ import annotations

import json
import pathlib
import runpy
from typing import Any

import pytest

from sedano import exceptions
from sedano.exceptions import DecodeError, EncodeError, SecurityError
from sedano.protocol import errors
from sedano.protocol.queues import Exchange, Queue, binding
from sedano.protocol.saferepr import saferepr
from sedano.protocol.serializers import json as our_json

RECORDINGS = pathlib.Path(__file__).parent / "recordings"


def vectors(name: str, key: str) -> list[Any]:
    found = json.loads((RECORDINGS / f"facts-{name}.json").read_text(encoding="utf-8"))["vectors"]
    return [pytest.param(vector, id=str(vector[key])[:60]) for vector in found if key in vector]


RECORDER = runpy.run_path(str(RECORDINGS / "record_facts.py"))
NAMES: dict[str, Any] = {
    **RECORDER["NAMESPACE"],
    "ce": exceptions,
    "ke": exceptions,
}


def pairs(text: str | bytes) -> str:
    """JSON text with nothing lost but spacing: doubled keys, key order and whether a number is a float stay visible."""
    return repr(json.loads(text, object_pairs_hook=list, parse_constant=str))


@pytest.mark.parametrize("vector", vectors("json", "dumps"))
@pytest.mark.parametrize("encode", [our_json.encode, our_json.plain_encode])
def test_given_a_value_when_written_as_json_then_keys_types_and_encodings_are_kombus(vector: Any, encode: Any) -> None:
    value = eval(vector["dumps"], NAMES)
    if "error" in vector:
        with pytest.raises(EncodeError):
            encode(value)
    else:
        assert pairs(encode(value)) == pairs(vector["text"])


@pytest.mark.parametrize("vector", vectors("json", "loads"))
@pytest.mark.parametrize("decode", [our_json.decode, our_json.plain_decode])
def test_given_a_text_when_read_as_json_then_the_value_is_kombus(vector: Any, decode: Any) -> None:
    data = vector["loads"].encode("utf-8", "surrogatepass")
    if "error" in vector:
        with pytest.raises(DecodeError):
            decode(data)
    else:
        assert repr(decode(data)) == vector["text"]


@pytest.mark.parametrize("vector", vectors("saferepr", "value"))
def test_given_a_value_when_shown_then_the_text_is_celerys(vector: Any) -> None:
    assert saferepr(eval(vector["value"], NAMES), vector["maxlen"], vector["maxlevels"]) == vector["text"]


@pytest.mark.parametrize("vector", vectors("exceptions", "exception"))
def test_given_an_exception_when_written_as_a_map_then_type_module_and_arguments_are_celerys(vector: Any) -> None:
    written = json.loads(our_json.encode(errors.exception_to_map(eval(vector["exception"], NAMES))))
    assert written == vector["map"]


@pytest.mark.parametrize("vector", vectors("exceptions", "exception"))
def test_given_celerys_map_of_an_exception_when_read_then_it_is_our_class_and_writes_the_same_map(vector: Any) -> None:
    exc = errors.exception_from_map(our_json.decode(json.dumps(vector["map"]).encode()))
    expected = type(eval(vector["exception"], NAMES))
    if vector["map"]["exc_type"] == "ExceptionGroup":  # its parts travel as text, which the constructor refuses
        assert type(exc) is Exception
    elif vector["map"]["exc_type"] != "Retry":  # three arguments that stand for others
        assert type(exc) is expected
        assert json.loads(our_json.encode(errors.exception_to_map(exc))) == vector["map"]


@pytest.mark.parametrize("vector", vectors("exceptions", "read"))
def test_given_a_map_when_read_then_class_and_arguments_are_celerys_or_it_is_refused(vector: Any) -> None:
    if vector.get("error") == "SecurityError":
        with pytest.raises(SecurityError):
            errors.exception_from_map(vector["read"])
    elif "error" in vector:
        with pytest.raises(DecodeError):
            errors.exception_from_map(vector["read"])
    else:
        exc = errors.exception_from_map(vector["read"])
        module, name, shown = vector["text"]
        assert repr(exc) == shown
        assert type(exc).__qualname__ == name
        assert (errors.wire_name(type(exc)) or (type(exc).__module__,))[0] == module


def test_given_queues_and_exchanges_when_described_then_maps_texts_and_equality_are_kombus() -> None:
    recorded = json.loads((RECORDINGS / "facts-queues.json").read_text(encoding="utf-8"))["vectors"]
    assert RECORDER["described_queues"]({"Exchange": Exchange, "Queue": Queue, "binding": binding}) == recorded
