"""One process on one AMQP connection: publish so many messages with confirms, then take them; `ours` or `py-amqp`.

    python amqp_client.py ours|py-amqp PORT MESSAGES

Prints a line of JSON: for each step messages a second by the clock, and by this process's own CPU time. Both encode and
decode all properties and headers of each message, wait for the confirms of a thousand at a time, have 500 messages in hand, and
acknowledge a hundred at once.
"""

# ruff: noqa: PLC0415 - the interpreter of each client has its own library only

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

ID = "d1839a6f-6d40-3bf9-81da-a5478591e192"
HEADERS = {
    "lang": "py", "task": "proj.add", "id": ID, "shadow": None, "eta": None, "expires": None, "group": None,
    "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": ID, "parent_id": None, "argsrepr": "(2, 3)",
    "kwargsrepr": "{}", "origin": "gen1@host", "ignore_result": False, "replaced_task_nesting": 0, "stamped_headers": None,
    "stamps": {},
}  # fmt: skip
PROPERTIES = {
    "content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2, "priority": 0,
    "correlation_id": ID, "reply_to": ID,
}  # fmt: skip
BODY = b'[[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
QUEUE, BATCH, PREFETCH, ACK_EVERY = "bench", 1000, 500, 100


def timed(messages: int, step: Callable[[int], None]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    step(messages)
    return messages / (time.perf_counter() - wall), messages / (time.process_time() - cpu)


class Ours:
    def __init__(self, port: int) -> None:
        from sedano.drivers.rabbitmq.address import Address, Server
        from sedano.drivers.rabbitmq.connection import Connection

        self.connection = Connection(Address("bench", (Server("127.0.0.1", port),)))
        self.connection.open()
        self.channel = self.connection.channel()
        self.channel.declare_queue(QUEUE)
        self.channel.purge_queue(QUEUE)
        self.channel.confirm_select()

    def publish(self, messages: int) -> None:
        from sedano.drivers.rabbitmq.properties import encode_properties

        for _ in range(messages // BATCH):
            for _ in range(BATCH):
                self.channel.publish("", QUEUE, encode_properties({**PROPERTIES, "headers": HEADERS}), BODY)
            self.channel.await_confirms()

    def consume(self, messages: int) -> None:
        from sedano.drivers.rabbitmq import methods
        from sedano.drivers.rabbitmq.properties import decode_properties

        channel = self.connection.channel()
        taken = acked = 0

        def take(message: Any) -> None:
            nonlocal taken
            decode_properties(message.header)
            taken = message.delivery_tag

        channel.on_deliver = take
        channel.qos(PREFETCH)
        channel.consume(QUEUE, "bench")
        while acked < messages:
            self.connection.pump(10.0)
            if taken - acked >= ACK_EVERY or taken == messages:
                acked = taken
                self.connection.write(methods.ack(channel.id, acked, multiple=True))
        channel.qos(0)


class Theirs:
    def __init__(self, port: int) -> None:
        import amqp  # type: ignore[import-not-found, unused-ignore]

        self.message = amqp.Message
        self.connection = amqp.Connection(f"127.0.0.1:{port}")
        self.connection.connect()
        self.channel = self.connection.channel()
        self.channel.queue_declare(QUEUE, durable=True, auto_delete=False)
        self.channel.queue_purge(QUEUE)
        self.channel.confirm_select()

    def publish(self, messages: int) -> None:
        confirmed = [0]
        self.channel.events["basic_ack"].add(lambda tag, multiple: confirmed.append(tag))
        for batch in range(1, messages // BATCH + 1):
            for _ in range(BATCH):
                self.channel._basic_publish(self.message(BODY, application_headers=HEADERS, **PROPERTIES), "", QUEUE)
            while confirmed[-1] < batch * BATCH:
                self.connection.drain_events(timeout=10)

    def consume(self, messages: int) -> None:
        channel = self.connection.channel()
        taken = acked = 0

        def take(message: Any) -> None:
            nonlocal taken
            taken = message.delivery_tag

        channel.basic_qos(0, PREFETCH, False)
        channel.basic_consume(QUEUE, callback=take)
        while acked < messages:
            self.connection.drain_events(timeout=10)
            if taken - acked >= ACK_EVERY or taken == messages:
                acked = taken
                channel.basic_ack(acked, multiple=True)
        channel.basic_qos(0, 0, False)


def main() -> None:
    name, port, messages = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    client = Ours(port) if name == "ours" else Theirs(port)
    print(json.dumps({"publish": timed(messages, client.publish), "consume": timed(messages, client.consume)}))


if __name__ == "__main__":
    main()
