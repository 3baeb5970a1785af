"""py-amqp's codec in the environment of a real Celery, asked over pipes. Run as a program there, imported here."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any


class Codec:
    """`python` is an interpreter that has py-amqp."""

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen([python, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, what: str, value: Any) -> Any:
        """`what`: table, properties (to bytes), or read_table, read_properties (from bytes). An error comes as its name."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((what, value), self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)

    def close(self) -> None:
        self._process.communicate()


def main() -> None:
    from amqp.basic_message import Message  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
    from amqp.serialization import dumps, loads  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415

    def write_properties(value: dict[str, Any]) -> bytes:
        renamed = {"application_headers" if name == "headers" else name: one for name, one in value.items()}
        return bytes(Message(b"", **renamed)._serialize_properties())

    def read_properties(data: bytes) -> dict[str, Any]:
        message = Message(b"")
        message._load_properties(60, data, 0)
        return {"headers" if name == "application_headers" else name: one for name, one in message.properties.items()}

    ways = {
        "table": lambda value: dumps("F", [value]),
        "read_table": lambda data: loads("F", data, 0)[0][0],
        "properties": write_properties,
        "read_properties": read_properties,
    }
    while True:
        try:
            what, value = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = ways[what](value)
        except Exception as error:
            answer = type(error).__name__
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
