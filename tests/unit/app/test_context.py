"""The request that a delivered call is given."""

from __future__ import annotations

import copy
import pickle

from sedano.app.context import Context, context_of
from sedano.protocol.call import build, read, read_body


def request_with(headers: dict[str, object]) -> Context:
    message = build("t", "id-1", (1,), {}, headers=headers)
    return context_of(read(message), read_body(message), hostname="w@h")


def test_given_headers_of_the_senders_own_then_they_are_attributes_and_stand_in_headers() -> None:
    request = request_with({"tenant": "blue", "x-trace": 7})
    assert request.tenant == "blue"  # type: ignore[attr-defined]
    assert request.get("x-trace") == 7
    assert request.headers == {"tenant": "blue", "x-trace": 7}


def test_given_headers_named_as_what_a_request_says_itself_then_they_stand_in_headers_only() -> None:
    own = {"hostname": "evil", "is_eager": True, "called_directly": True, "get": 1, "args": [2], "children": []}
    request = request_with(own)
    assert (request.hostname, request.is_eager, request.called_directly) == ("w@h", False, False)
    assert (request.get("id"), request.args) == ("id-1", [1])
    assert request.headers == own


def test_given_a_request_when_it_is_taken_apart_then_everything_is_in_it() -> None:
    request = request_with({})
    request.retries = 7
    assert {"id", "task", "args", "kwargs", "retries", "delivery_info", "root_id", "chain"} <= vars(request).keys()
    assert (request.retries, request.task, request.args) == (7, "t", [1])
    assert "'task': 't'" in repr(request_with({}))


def test_given_a_request_when_it_is_copied_pickled_updated_or_cleared_then_it_stays_a_request() -> None:
    for made in (copy.copy(request_with({})), pickle.loads(pickle.dumps(request_with({})))):
        assert (made.id, made.task, made.hostname) == ("id-1", "t", "w@h")
    request = request_with({})
    request.update(task="other")
    assert (request.task, request.args) == ("other", [1])
    request.clear()
    assert (request.id, request.task, request.retries) == (None, None, 0)
