"""Result records that real Celery 5.7 stored (recordings/results-*.json): decoded, encoded again, and built anew."""

from __future__ import annotations

import base64
import io
import json
import pathlib
import pickle
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from sedano import exceptions
from sedano.exceptions import ContentDisallowed, TaskRevokedError
from sedano.protocol import results

RECORDINGS = pathlib.Path(__file__).parent / "recordings"


class MyErr(Exception):
    """The capture application's own exception, `proj.MyErr`."""

    __module__ = "proj"
    __qualname__ = "MyErr"


@pytest.fixture
def proj() -> Iterator[None]:
    module = types.ModuleType("proj")
    module.MyErr = MyErr  # type: ignore[attr-defined]
    sys.modules["proj"] = module
    yield
    del sys.modules["proj"]


def records(name: str) -> list[Any]:
    found = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))["vectors"]
    return [pytest.param(vector["id"], vector["key"], payload_of(vector["value"]), id=vector["id"]) for vector in found]


def payload_of(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])


def with_pairs(payload: bytes) -> str:
    return repr(json.loads(payload, object_pairs_hook=list))


def rebuilt(meta: dict[str, Any]) -> dict[str, Any]:
    """The record built from its parts, by the builder for its state."""
    if "status" not in meta:
        return meta
    known = ("status", "result", "traceback", "children", "date_done", "group_id", "parent_id", "task_id")
    more: dict[str, Any] = {name: meta[name] for name in ("children", "group_id", "parent_id") if name in meta}
    extended = {name: value for name, value in meta.items() if name not in known}
    if extended:
        stamped = extended.pop("stamped_headers", None)
        stamps = {name: extended.pop(name) for name in stamped or ()}
        more["extended"] = results.extended_fields(**extended, stamped_headers=stamped, stamps=stamps)
    task_id, status, result, date_done = meta["task_id"], meta["status"], meta["result"], meta["date_done"]
    if status == "SUCCESS":
        return results.success(task_id, result, date_done=date_done, **more)
    if status == "FAILURE":
        return results.failure(task_id, result, date_done=date_done, traceback=meta["traceback"], **more)
    if status == "REVOKED":
        return results.revoked(task_id, result.args[0], date_done=date_done, **more)
    return results.state(task_id, status, result, traceback=meta["traceback"], **more)


def check_kind_of_result(name: str, meta: dict[str, Any]) -> None:
    expected: dict[str, tuple[type, tuple[Any, ...]]] = {
        "failure": (ValueError, ("boom", 42)),
        "failure_custom": (MyErr, ("a", {"b": 1})),
        "retry": (KeyError, ("nokey",)),
        "revoked": (TaskRevokedError, ("revoked",)),
        "revoked_terminated": (TaskRevokedError, ("terminated",)),
    }
    if name in expected:
        assert (type(meta["result"]), meta["result"].args) == expected[name]
    else:
        assert not isinstance(meta["result"], BaseException)


@pytest.mark.parametrize(("name", "key", "payload"), records("results-redis") + records("results-redis-ext"))
def test_given_a_json_record_when_decoded_and_built_anew_then_it_is_the_same_record(
    proj: None, name: str, key: str, payload: bytes
) -> None:
    meta = results.decode_meta(payload)
    check_kind_of_result(name, meta)
    assert with_pairs(results.encode_meta(rebuilt(meta))) == with_pairs(payload)
    assert key in (
        results.task_key(meta.get("task_id", "")),
        results.group_key(meta["result"][0][0]) if "status" not in meta else "",
    )


@pytest.mark.parametrize(("name", "key", "payload"), records("results-zlib"))
def test_given_a_compressed_record_when_decoded_then_the_reader_needs_no_setting(
    proj: None, name: str, key: str, payload: bytes
) -> None:
    meta = results.decode_meta(payload)
    check_kind_of_result(name, meta)
    again = results.encode_meta(rebuilt(meta), compression="zlib")
    assert again.startswith(b"\0celery-compressed\0application/x-gzip\0")
    assert with_pairs(results.encode_meta(results.decode_meta(again))) == with_pairs(results.encode_meta(meta))


@pytest.mark.parametrize(("name", "key", "payload"), records("results-pickle"))
def test_given_a_pickled_record_when_decoded_and_built_anew_then_it_is_the_same_record(
    proj: None, name: str, key: str, payload: bytes
) -> None:
    meta = results.decode_meta(payload, "pickle")
    check_kind_of_result(name, meta)
    again = results.encode_meta(rebuilt(meta), "pickle")
    assert repr(results.decode_meta(again, "pickle")) == repr(meta)
    assert globals_in(again) == globals_in(payload)


def globals_in(payload: bytes) -> list[tuple[str, str]]:
    """The (module, name) pairs that a pickle refers to."""
    found: list[tuple[str, str]] = []

    class Recorder(pickle.Unpickler):
        def find_class(self, module: str, name: str, /) -> Any:
            found.append((module, name))
            return lambda *args: (name, args)

    Recorder(io.BytesIO(payload)).load()
    return found


@pytest.mark.parametrize(("name", "key", "payload"), records("results-pickle"))
def test_given_a_pickled_record_when_only_json_is_accepted_then_it_is_refused(name: str, key: str, payload: bytes) -> None:
    with pytest.raises(ContentDisallowed):
        results.decode_meta(payload, "pickle", accept=["json"])


def test_given_an_exception_of_a_module_that_is_not_loaded_when_read_then_a_class_is_made_under_celery_exceptions() -> None:
    payload = next(p.values[2] for p in records("results-redis") if p.id == "failure_custom")
    exc = results.decode_meta(payload)["result"]
    assert (type(exc).__module__, type(exc).__name__, exc.args) == ("celery.exceptions", "MyErr", ("a", {"b": 1}))
    assert isinstance(exc, Exception)
    assert not isinstance(exc, exceptions.CeleryError)
