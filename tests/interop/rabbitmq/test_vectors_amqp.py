"""Task messages that real Celery 5.7 sent to RabbitMQ (recordings/messages-amqp.json): ours are the same, to the byte."""

from __future__ import annotations

import base64
import json
import pathlib
import subprocess
from typing import Any

import pytest
from tests.interop import environments
from tests.interop.test_vectors_messages import ACCEPT, amqp_message, messages

from sedano.contracts.settlement import Outgoing
from sedano.drivers.rabbitmq.messages import from_amqp, to_amqp
from sedano.protocol import call, envelope
from sedano.protocol.message import Message

RECORDINGS = pathlib.Path(__file__).parents[1] / "recordings"
VECTORS = messages("messages-amqp")

# Writes the header of each message with py-amqp, and reads ours with it.
FOREIGN = """
import base64, json, sys
from amqp.basic_message import Message
for line in sys.stdin:
    asked = json.loads(line)
    theirs = Message("", **asked["properties"])._serialize_properties()
    ours = Message("")
    ours._load_properties(60, base64.b64decode(asked["header"]), 0)
    same = Message("", **ours.properties)._serialize_properties() == theirs
    print(json.dumps({"header": base64.b64encode(theirs).decode(), "same": same, "read": ours.properties}))
"""


@pytest.mark.parametrize(("name", "vector"), VECTORS)
def test_given_a_recorded_message_when_sent_and_delivered_then_nothing_changed(name: str, vector: Any) -> None:
    message = amqp_message(vector)
    header, body = to_amqp(Outgoing(message, vector["routing_key"], priority=vector["properties"]["priority"]))
    delivered = from_amqp(header, body, vector["exchange"], vector["routing_key"], False)
    added = delivered.properties.pop("body_encoding")
    assert delivered == message
    assert added == "base64"
    try:
        expected = call.read(message, accept=ACCEPT)
    except Exception as refused:
        with pytest.raises(type(refused)):
            call.read(delivered, accept=ACCEPT)
    else:
        assert call.read(delivered, accept=ACCEPT) == expected


@pytest.mark.celery
@pytest.mark.parametrize("version", environments.VERSIONS)
def test_given_the_recorded_messages_then_py_amqp_writes_and_reads_the_same_bytes(version: str) -> None:
    asked, headers = [], []
    for _, vector in (parameter.values for parameter in VECTORS):
        header, _ = to_amqp(Outgoing(amqp_message(vector), "q", priority=vector["properties"]["priority"]))
        properties = {**vector["properties"], "application_headers": vector["headers"]}
        asked.append(json.dumps({"properties": properties, "header": base64.b64encode(header).decode()}))
        headers.append(header)
    done = subprocess.run(
        [environments.python_of(environments.celery(version)), "-c", FOREIGN],
        input="\n".join(asked),
        env=environments.clean_environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [base64.b64decode(answer["header"]) for answer in answers] == headers
    assert all(answer["same"] for answer in answers)


def test_given_the_bytes_of_a_real_connection_then_the_header_is_the_same() -> None:
    vectors = json.loads((RECORDINGS / "amqp-topology.json").read_text())["vectors"]
    stream = next(vector["stream"] for vector in vectors if vector["id"] == "raw_frames_publish")
    sent = b"".join(base64.b64decode(piece["base64"]) for piece in stream if piece["from"] == "c")
    start = sent.index(b"\x02\x00\x01")  # the frame of a content header on channel 1
    size = int.from_bytes(sent[start + 3 : start + 7])
    recorded = sent[start + 7 + 12 : start + 7 + size]
    message = from_amqp(recorded, b"", "", "celery", False)
    assert message.headers["task"] == "proj.add"
    assert to_amqp(Outgoing(message, "celery"))[0] == recorded


def test_given_a_delivered_message_when_stored_elsewhere_then_nothing_is_lost() -> None:
    message = Message(b"\x00\xff", "application/data", "binary", {"task": "t", "id": "1"}, {"correlation_id": "1"})
    delivered = from_amqp(*to_amqp(Outgoing(message, "q")), "", "q", True)
    assert envelope.decode(envelope.encode(delivered)) == delivered
    assert envelope.is_redelivered(delivered)
