"""Results as messages (rpc://): how one is written, and where those that came wait to be read."""

from __future__ import annotations

import logging

import pytest

from sedano.contracts import AmqpOptions, ResultWrite
from sedano.drivers.rabbitmq.inbox import MOST_READ, Inbox
from sedano.drivers.rabbitmq.properties import decode_properties
from sedano.drivers.rabbitmq.resultmessage import result_message
from sedano.exceptions import ContentDisallowed
from sedano.protocol.results import decode_meta, encode_meta, state, typed

ID = "a447f76e-c30e-4112-af0d-6ab9ddfb008b"
META = state(ID, "SUCCESS", 5, date_done="2026-11-21T06:48:24+00:00")


def write(payload: bytes = b"{}", reply_to: str = "oid", task_id: str = ID) -> ResultWrite:
    return ResultWrite(task_id, payload, 60.0, True, reply_to)


def test_given_a_result_when_it_is_sent_then_the_message_is_celerys() -> None:
    message = result_message(write(encode_meta(META)), AmqpOptions())
    assert message is not None
    assert (message.exchange, message.routing_key, message.mandatory, message.queue) == ("", "oid", False, "")
    assert message.body == encode_meta(META)
    assert decode_properties(message.header) == {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": {},
        "delivery_mode": 1,
        "priority": 0,
        "correlation_id": ID,
    }


@pytest.mark.parametrize(
    ("serializer", "content_type"), [("json", "application/json"), ("pickle", "application/x-python-serialize")]
)
def test_given_settings_when_a_result_is_sent_then_it_is_persistent_and_typed_as_they_say(
    serializer: str, content_type: str
) -> None:
    message = result_message(write(), AmqpOptions(result_persistent=True, result_serializer=serializer))
    assert message is not None
    properties = decode_properties(message.header)
    assert (properties["delivery_mode"], properties["content_type"]) == (2, content_type)


def test_given_a_compressed_record_when_it_is_sent_then_it_is_plain_as_celery_sends_it() -> None:
    message = result_message(write(encode_meta(META, compression="gzip")), AmqpOptions())
    assert message is not None
    assert message.body == encode_meta(META)


@pytest.mark.parametrize("reply_to", ["", "x" * 256])
def test_given_nobody_who_can_be_told_when_a_result_is_sent_then_there_is_no_message(reply_to: str) -> None:
    assert result_message(write(reply_to=reply_to), AmqpOptions()) is None


def test_given_a_record_in_another_form_when_it_is_read_then_only_where_that_is_accepted() -> None:
    record = typed(encode_meta(META, "pickle"), "application/x-python-serialize")
    accept = frozenset({"application/json", "application/x-python-serialize"})
    assert decode_meta(record, "json", accept)["result"] == 5
    with pytest.raises(ContentDisallowed):
        decode_meta(record, "json")


def test_given_records_when_they_are_taken_then_they_can_be_taken_again_until_many_others_were() -> None:
    inbox = Inbox(None)
    for number in range(MOST_READ + 1):
        inbox.put(str(number), b"%d" % number, 0.0)
    assert [inbox.take("0"), inbox.take("0")] == [b"0", b"0"]
    for number in range(1, MOST_READ + 1):
        assert inbox.take(str(number)) == b"%d" % number
    assert inbox.take("0") is None
    assert inbox.take(str(MOST_READ)) is not None
    assert [inbox.forget("1"), inbox.forget("1")] == [True, False]
    assert inbox.take("1") is None


def test_given_several_states_of_a_call_when_taken_then_it_is_the_last_but_none_after_success() -> None:
    inbox = Inbox(None)
    for status in ("STARTED", "RETRY", "SUCCESS", "STARTED"):
        inbox.put(ID, encode_meta(state(ID, status)), 0.0)
    assert decode_meta(inbox.take(ID) or b"")["status"] == "SUCCESS"
    inbox.put(ID, encode_meta(state(ID, "FAILURE")), 0.0)
    assert decode_meta(inbox.take(ID) or b"")["status"] == "SUCCESS"


def test_given_records_that_nobody_asks_for_when_time_passes_or_room_ends_then_the_oldest_go(
    caplog: pytest.LogCaptureFixture,
) -> None:
    inbox = Inbox(10.0, most_bytes=2000)
    caplog.set_level(logging.WARNING)
    for number in range(6):
        inbox.put(str(number), b"x" * 100, float(number))
    assert [inbox.has(str(number)) for number in range(6)] == [False, True, True, True, True, True]
    inbox.put("6", b"x" * 100, 6.0)
    assert not inbox.has("1")
    assert len([record for record in caplog.records if "ignore_result=True" in record.getMessage()]) == 1
    assert inbox.expire(13.0) == 2
    assert [inbox.has(str(number)) for number in range(2, 7)] == [False, False, True, True, True]
