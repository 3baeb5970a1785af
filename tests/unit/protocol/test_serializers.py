from __future__ import annotations

import pickle
import pickletools
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sedano import exceptions
from sedano.exceptions import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured
from sedano.protocol import names, serializers
from sedano.protocol.serializers import adopted, registry
from sedano.protocol.serializers import json as our_json

PICKLE = "application/x-python-serialize"


@pytest.fixture
def shouting() -> Iterator[None]:
    serializers.register("shout", lambda value: str(value).upper(), lambda data: data.decode().lower(), "text/x-shout")
    yield
    serializers.unregister("shout")


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        ([1], "json", ("application/json", "utf-8", b"[1]")),
        ([1], None, ("application/json", "utf-8", b"[1]")),
        (b"\xff", None, ("application/data", "binary", b"\xff")),
        ("é", None, ("text/plain", "utf-8", "é".encode())),
        ("é", "raw", ("application/data", "utf-8", "é".encode())),
        (b"x", "raw", ("application/data", "binary", b"x")),
        ("é", "json", ("application/json", "utf-8", '"é"'.encode())),
        ((1,), "pickle", (PICKLE, "binary", pickle.dumps((1,), 4))),
    ],
)
def test_given_a_value_when_dumped_then_type_encoding_and_bytes_are_kombus(value: Any, name: Any, expected: Any) -> None:
    assert serializers.dumps(value, name) == expected


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "accept", "expected"),
    [
        (b"[1]", "application/json", "utf-8", None, [1]),
        (b"[1]", "application/json", "utf-8", {"json"}, [1]),
        (b"[1]", "application/json", "utf-8", frozenset({"application/json"}), [1]),
        (b"\xff", "application/data", "binary", None, b"\xff"),
        (b"\xc3\xa9", "application/data", "utf-8", None, "é"),
        (b"\xe9", "", "latin-1", None, "é"),
        (b"x", "text/plain", "utf-8", {"text/plain"}, "x"),
        (pickle.dumps((1,)), PICKLE, "binary", {"pickle"}, (1,)),
    ],
)
def test_given_bytes_when_loaded_then_the_value_comes_back(
    body: bytes, content_type: str, encoding: str, accept: Any, expected: Any
) -> None:
    assert serializers.loads(body, content_type, encoding, accept) == expected


@pytest.mark.parametrize(
    ("content_type", "accept", "name"),
    [(PICKLE, None, "pickle"), (PICKLE, {"json"}, "pickle"), ("application/json", {"pickle"}, "json"), ("a/b", None, "a/b")],
)
def test_given_content_that_is_not_accepted_when_loaded_then_nothing_of_it_is_decoded(
    content_type: str, accept: Any, name: str
) -> None:
    bomb = b"cbuiltins\nexit\n(tR."
    with pytest.raises(ContentDisallowed, match=f"untrusted content of type {name}") as caught:
        serializers.loads(bomb, content_type, "binary", accept)
    assert isinstance(caught.value, exceptions.UnreadableMessage)


def test_given_a_serializer_of_ones_own_when_registered_then_it_is_found_by_name_and_type(shouting: None) -> None:
    written = serializers.dumps("Ab", "shout")
    assert written == ("text/x-shout", "utf-8", b"AB")
    assert serializers.loads(written[2], *written[:2], accept=["shout"]) == "ab"
    assert serializers.accept_types(["shout", "json", "a/b"]) == {"text/x-shout", "application/json", "a/b"}


def test_given_a_serializer_when_unregistered_then_it_is_gone(shouting: None) -> None:
    serializers.register("other", lambda _: "x", None, "text/x-other")
    serializers.unregister("other")
    with pytest.raises(EncodeError, match="no serializer 'other'"):
        serializers.dumps(1, "other")
    with pytest.raises(KeyError):
        serializers.unregister("other")


def test_given_serializers_that_fail_when_used_then_the_error_names_them() -> None:
    def fail(_: Any) -> Any:
        raise ZeroDivisionError("oh")

    serializers.register("failing", fail, fail, "x/failing")
    try:
        with pytest.raises(EncodeError, match="'failing' cannot write the value: oh"):
            serializers.dumps(1, "failing")
        with pytest.raises(DecodeError, match="'failing' cannot read the body: oh"):
            serializers.loads(b"1", "x/failing", "utf-8", ["failing"])
    finally:
        serializers.unregister("failing")


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a fresh process, where only json was used yet, and nothing was taken from others."""
    for table in ("_by_name", "_by_type"):
        found = {key: one for key, one in getattr(registry, table).items() if one.name == "json"}
        monkeypatch.setattr(registry, table, found)
    monkeypatch.setattr(registry, "_unregistered", set())
    monkeypatch.setattr(registry, "_has_looked", False)
    monkeypatch.setattr(adopted, "_seen", {})


@pytest.mark.parametrize(("name", "package"), [("yaml", "yaml"), ("msgpack", "msgpack")])
def test_given_a_serializer_whose_package_is_missing_when_used_then_the_error_names_the_extra(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch, unloaded: None
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"sedano.protocol.serializers.{name}", raising=False)
    (content_type,) = serializers.accept_types([name])
    with pytest.raises(EncodeError, match=rf"no serializer '{name}'.*pip install 'sedano\[{name}\]'"):
        serializers.dumps(1, name)
    with pytest.raises(DecodeError, match=rf"pip install 'sedano\[{name}\]'"):
        serializers.loads(b"1", content_type, "utf-8", [name])
    with pytest.raises(ContentDisallowed, match=f"Add '{name}' to accept_content"):
        serializers.loads(b"1", content_type, "utf-8", ["json"])


@pytest.mark.parametrize(("name", "encoding"), [("yaml", "utf-8"), ("msgpack", "binary"), ("pickle", "binary")])
def test_given_a_serializer_that_was_not_used_yet_when_used_by_name_or_type_then_it_is_loaded(
    name: str, encoding: str, unloaded: None
) -> None:
    value = [[1, "é", 1.5, None, True, {"a": [b"\xff"]}], {}]
    content_type, content_encoding, data = serializers.dumps(value, name)
    assert content_encoding == encoding
    assert serializers.loads(data, content_type, content_encoding, [name]) == value
    registry._by_type.pop(content_type)
    assert serializers.loads(data, content_type, content_encoding, [content_type]) == value


@pytest.mark.parametrize("name", ["yaml", "msgpack", "pickle"])
def test_given_content_that_runs_or_makes_objects_when_not_configured_then_it_is_not_even_loaded(
    name: str, unloaded: None
) -> None:
    content_type = serializers.known_type(name)
    assert content_type
    with pytest.raises(ContentDisallowed):
        serializers.loads(b"1", content_type, "utf-8")
    assert name not in registry._by_name


@pytest.mark.parametrize(
    ("data", "content_type", "name"),
    [
        (b"!!python/object/apply:os.getcwd []", "application/x-yaml", "yaml"),
        (b"{a: [", "application/x-yaml", "yaml"),
        (b"[" * 100_000, "application/x-yaml", "yaml"),
        (b"\xff\xfe\xfd", "application/x-yaml", "yaml"),
        (b"", "application/x-msgpack", "msgpack"),
        (b"\xc1", "application/x-msgpack", "msgpack"),
        (b"\x91" * 100_000, "application/x-msgpack", "msgpack"),
        (b"\xdd\xff\xff\xff\xff", "application/x-msgpack", "msgpack"),
        (b"\x81\x01\x02", "application/x-msgpack", "msgpack"),
        (b"\xa2\xff\xff", "application/x-msgpack", "msgpack"),
    ],
)
def test_given_bytes_that_are_no_such_value_when_loaded_then_it_is_a_decode_error(
    data: bytes, content_type: str, name: str
) -> None:
    with pytest.raises(DecodeError, match=f"the serializer '{name}' cannot read the body"):
        serializers.loads(data, content_type, "utf-8", [name])


@pytest.mark.parametrize("name", ["yaml", "msgpack"])
def test_given_a_value_that_is_not_carried_when_dumped_then_it_is_an_encode_error(name: str) -> None:
    with pytest.raises(EncodeError, match=f"the serializer '{name}' cannot write the value"):
        serializers.dumps([object()], name)


def test_given_a_built_in_serializer_when_unregistered_then_it_is_gone_until_it_is_registered(unloaded: None) -> None:
    serializers.unregister("yaml")
    with pytest.raises(EncodeError, match="no serializer 'yaml' to write with: register it"):
        serializers.dumps(1, "yaml")
    with pytest.raises(KeyError):
        serializers.unregister("yaml")
    serializers.register("yaml", str, int, "application/x-yaml")
    assert serializers.dumps(1, "yaml")[2] == b"1"


# -- what others registered -------------------------------------------------------------------------------------------


def shout(value: Any) -> str:
    return str(value).upper()


def whisper(data: bytes) -> str:
    return data.decode().lower()


def made_by_kombu(value: Any) -> str:
    return "kombu's own"


made_by_kombu.__module__ = "kombu.utils.json"


@pytest.fixture
def kombu(monkeypatch: pytest.MonkeyPatch, unloaded: None) -> types.ModuleType:
    """What Kombu's module looks like once it is loaded: its own json, and one that a user registered."""
    module = types.ModuleType("kombu.serialization")
    module.registry = types.SimpleNamespace(  # type: ignore[attr-defined]
        _encoders={
            "json": ("application/json", "utf-8", made_by_kombu),
            "yaml": ("application/x-yaml", "utf-8", None),
            "shout": ("text/x-shout", "utf-8", shout),
        },
        _decoders={"application/json": None, "text/x-shout": whisper},
    )
    monkeypatch.setitem(sys.modules, "kombu.serialization", module)
    return module


def test_given_a_serializer_registered_with_kombu_when_used_then_it_is_found_and_kombus_own_are_not_taken(
    kombu: types.ModuleType,
) -> None:
    assert serializers.dumps("ab", "shout") == ("text/x-shout", "utf-8", b"AB")
    assert serializers.dumps("ab", "json")[2] == b'"ab"'
    assert serializers.accept_types(["shout"]) == {"text/x-shout"}
    assert serializers.loads(b"AB", "text/x-shout", "utf-8", ["shout"]) == "ab"


def test_given_a_type_that_is_accepted_when_kombu_knows_its_serializer_then_it_is_read(kombu: types.ModuleType) -> None:
    assert serializers.loads(b"AB", "text/x-shout", "utf-8", ["text/x-shout"]) == "ab"


def test_given_a_user_who_replaced_kombus_json_when_settings_are_read_then_ours_is_replaced_too(
    kombu: types.ModuleType,
) -> None:
    kombu.registry._encoders["json"] = ("application/json", "utf-8", shout)
    kombu.registry._decoders["application/json"] = whisper
    serializers.accept_types(["json"])
    assert serializers.dumps("ab", "json")[2] == b"AB"
    serializers.register("json", our_json.encode, our_json.decode, "application/json")
    serializers.accept_types(["json"])
    assert serializers.dumps("ab", "json")[2] == b'"ab"', "what was registered here since then is not replaced again"


def test_given_a_type_registered_with_kombus_json_when_sent_then_it_is_carried(
    kombu: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Coin:
        pass

    json_module = types.ModuleType("kombu.utils.json")
    json_module._encoders = {Coin: ("coin", lambda _: 5)}  # type: ignore[attr-defined]
    json_module._decoders = {"coin": lambda value: ("coin", value)}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kombu.utils.json", json_module)
    serializers.adopt()
    assert our_json.decode(our_json.encode([Coin()])) == [("coin", 5)]


def test_given_a_package_with_an_entry_point_when_its_serializer_is_asked_for_then_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unloaded: None
) -> None:
    info = tmp_path / "shouter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kombu.serializers]\nbellow = shouter:args\n")
    (tmp_path / "shouter.py").write_text(
        "args = (lambda v: v.upper(), lambda d: d.decode().lower(), 'text/x-bellow', 'utf-8')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert serializers.dumps("ab", "bellow") == ("text/x-bellow", "utf-8", b"AB")
    assert serializers.loads(b"AB", "text/x-bellow", "utf-8", ["bellow"]) == "ab"


def test_given_only_json_when_used_then_nobody_looks_for_entry_points(monkeypatch: pytest.MonkeyPatch, unloaded: None) -> None:
    serializers.loads(serializers.dumps([1], "json")[2], "application/json", "utf-8")
    serializers.accept_types(["json", "pickle", "application/x-other"])
    assert not registry._has_looked


def test_given_an_unknown_name_when_accepted_then_it_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(ImproperlyConfigured, match="accept_content names 'jsno'"):
        serializers.accept_types(["jsno"])


def test_given_text_that_is_not_in_its_encoding_when_loaded_then_it_is_a_decode_error() -> None:
    for encoding in ("utf-8", "no-such-encoding"):
        with pytest.raises(DecodeError, match=f"no {encoding} text"):
            serializers.loads(b"\xff", "application/data", encoding)


def test_given_what_raw_cannot_carry_when_dumped_then_it_is_an_encode_error() -> None:
    with pytest.raises(EncodeError, match="takes str or bytes, not list"):
        serializers.dumps([1], "raw")
    with pytest.raises(EncodeError, match="UTF-8"):
        serializers.dumps("\ud800", None)


# -- json -------------------------------------------------------------------------------------------------------------


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


def test_given_a_registered_type_when_sent_then_it_comes_back() -> None:
    serializers.register_type(Money, "money", lambda money: money.cents, Money)
    found = our_json.decode(our_json.encode({"price": Money(5)}))
    assert isinstance(found["price"], Money)
    assert found["price"].cents == 5


class Silent:
    pass


def test_given_a_type_registered_without_a_marker_when_sent_then_it_is_only_transformed() -> None:
    serializers.register_type(Silent, None, lambda _: {"silent": True})
    assert our_json.encode([Silent()]) == b'[{"silent":true}]'


def test_given_a_lazy_translation_of_django_when_sent_then_it_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Promise:
        def __str__(self) -> str:
            return "translated"

    module = types.ModuleType("django.utils.functional")
    module.Promise = Promise  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "django.utils.functional", module)
    assert our_json.encode([Promise()]) == b'["translated"]'


def test_given_a_json_method_that_fails_when_sent_then_it_is_an_encode_error() -> None:
    class Failing:
        def __json__(self) -> Any:
            raise ZeroDivisionError("oh")

    with pytest.raises(EncodeError, match="oh"):
        our_json.encode([Failing()])


@pytest.mark.parametrize("value", [[1, "é", None, True, 1.5, {"a": (1, [{}])}], {}, [[]], "x", 2**200])
def test_given_plain_values_when_looked_at_then_they_take_the_fast_road(value: Any) -> None:
    assert our_json.is_plain(value)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [float("nan"), [float("inf")], {1: 2}, {Text("a"): 1}, [Text("a")], [b"x"], {"a": {1}}, [object()], [[[{"a": [{2: 3}]}]]]],
)
def test_given_values_that_msgspec_would_write_otherwise_when_looked_at_then_they_take_the_plain_road(value: Any) -> None:
    assert not our_json.is_plain(value)


def test_given_a_very_deep_value_when_looked_at_then_it_takes_the_plain_road() -> None:
    deep: list[Any] = []
    for _ in range(40):
        deep = [deep]
    assert not our_json.is_plain(deep)
    assert our_json.decode(our_json.encode(deep)) == deep


# -- pickle and names -------------------------------------------------------------------------------------------------

CELERYS = [
    (exceptions.Retry("m", KeyError("k"), 3), "celery.exceptions", "Retry"),
    (exceptions.Reject("no", requeue=True), "celery.exceptions", "Reject"),
    (exceptions.MaxRetriesExceededError("x", task_args=(1,), task_kwargs={}), "celery.exceptions", "MaxRetriesExceededError"),
    (exceptions.WorkerLostError("gone"), "billiard.exceptions", "WorkerLostError"),
    (exceptions.TimeLimitExceeded(5), "billiard.exceptions", "TimeLimitExceeded"),
    (exceptions.OperationalError("down"), "kombu.exceptions", "OperationalError"),
    (exceptions.EncodeError("e"), "kombu.exceptions", "EncodeError"),
    (exceptions.UnpickleableExceptionWrapper("m", "C", [1], "t"), "celery.utils.serialization", "UnpickleableExceptionWrapper"),
]


def strings_in(data: bytes) -> list[str]:
    return [argument for _, argument, _ in pickletools.genops(data) if isinstance(argument, str)]


@pytest.mark.parametrize(("exc", "module", "name"), CELERYS, ids=[name for _, _, name in CELERYS])
def test_given_a_class_of_celerys_when_pickled_then_it_has_celerys_name_on_the_wire_and_is_ours_again(
    exc: BaseException, module: str, name: str
) -> None:
    data = serializers.dumps({"deep": [exc]}, "pickle")[2]
    assert module in strings_in(data)
    assert name in strings_in(data)
    assert not any("sedano" in text for text in strings_in(data))
    again = serializers.loads(data, PICKLE, "binary", ["pickle"])["deep"][0]
    assert type(again) is type(exc)
    assert {k: repr(v) for k, v in vars(again).items()} == {k: repr(v) for k, v in vars(exc).items()}


def test_given_a_class_itself_when_pickled_then_it_is_named_the_same_way() -> None:
    data = serializers.dumps(exceptions.Ignore, "pickle")[2]
    assert strings_in(data) == ["celery.exceptions", "Ignore"]
    assert serializers.loads(data, PICKLE, "binary", ["pickle"]) is exceptions.Ignore


def test_given_names_that_celery_reexports_when_read_then_they_are_our_classes() -> None:
    assert names.wire_object("celery.exceptions", "SoftTimeLimitExceeded") is exceptions.SoftTimeLimitExceeded
    assert names.wire_object("celery.exceptions", "OperationalError") is exceptions.OperationalError
    assert names.wire_name(exceptions.SoftTimeLimitExceeded) == ("billiard.exceptions", "SoftTimeLimitExceeded")
    assert names.wire_name(exceptions.LeaseLost) is None


def test_given_a_pickled_signature_of_celerys_when_read_then_it_is_its_map() -> None:
    # What Celery writes for add.s(1): celery.canvas.signature called with the map.
    data = b"\x80\x04\x8c\x0dcelery.canvas\x8c\x09signature\x93}\x8c\x04task\x8c\x03adds\x85R."
    found = serializers.loads(data, PICKLE, "binary", ["pickle"])
    assert isinstance(found, dict)  # a plain one, or `canvas.Signature` once that is loaded
    assert found["task"] == "add"


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x80\x04\x8c\x08not_here\x8c\x01x\x93."])
def test_given_what_is_no_pickle_or_names_what_is_not_here_when_read_then_it_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError, match="cannot unpickle"):
        serializers.loads(data, PICKLE, "binary", ["pickle"])


def test_given_what_cannot_be_pickled_when_dumped_then_it_is_an_encode_error() -> None:
    with pytest.raises(EncodeError, match="cannot pickle"):
        serializers.dumps([lambda: 1], "pickle")
