"""The ceiling: what two processes reach that do no more than the store's part of a task, as leanly as Python can.

Each loop is one script in one round trip: drop the begun record of the batch before, SET and PUBLISH its results, pop a batch,
write its begun record. Between two of them the loop reads the id out of each message and calls the task's body; it looks at
no header, runs no hook, renews no lease, knows nothing of failure. Whoever does what Sedano promises must be slower.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import hiredis
import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent / "apps"))

import tally

BATCH = 40
SCRIPT = (
    b"""
redis.call('DEL', KEYS[2])
for i = 1, #ARGV, 2 do
  redis.call('SET', ARGV[i], ARGV[i + 1], 'EX', 86400)
  redis.call('PUBLISH', ARGV[i], ARGV[i + 1])
end
local items = redis.call('RPOP', KEYS[1], %d)
if not items then return {} end
local begun = {}
for i, item in ipairs(items) do
  begun[2 * i - 1] = i
  begun[2 * i] = item
end
redis.call('HSET', KEYS[2], unpack(begun))
return items
"""
    % BATCH
)


class Headers(msgspec.Struct):
    id: str


class Envelope(msgspec.Struct):
    headers: Headers


def loop(url: str, *, results: bool) -> None:
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port or 6379))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = hiredis.Reader()

    def ask(*words: bytes) -> object:
        connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
        while (reply := reader.gets()) is False:
            reader.feed(connection.recv(1 << 16))
        return reply

    digest = ask(b"SCRIPT", b"LOAD", SCRIPT)
    head = (b"EVALSHA", digest, b"2", b"bench", b"begun-%d" % os.getpid())
    decode = msgspec.json.Decoder(Envelope).decode
    done: list[bytes] = []
    while True:
        items = ask(*head, *done)
        done = []
        for item in items:
            task_id = decode(item).headers.id.encode()
            tally.bump()
            if results:
                done += (
                    b"celery-task-meta-" + task_id,
                    b'{"status": "SUCCESS", "result": null, "traceback": null, "children": [], "date_done": '
                    b'"2026-01-01T00:00:00.000000+00:00", "task_id": "' + task_id + b'"}',
                )
        if not items:
            time.sleep(0.005)


def main() -> None:
    url, results = os.environ["BENCH_BROKER"], os.environ["BENCH_RESULTS"] == "1"
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    child = os.fork()
    if child:
        signal.signal(signal.SIGTERM, lambda *_: (os.kill(child, signal.SIGTERM), os._exit(0)))
    loop(url, results=results)


if __name__ == "__main__":
    main()
