"""The request that a delivered call is given."""

from __future__ import annotations

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
