"""Two nodes: one is killed in every way and started again, of the other only what lies below its supervisor."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping

from tests.faults.arena import PROJECT

from sedano.testing.node import Node, NodeError

KEPT_LINES = 500
PATIENCE_S = 60.0


def wait_for_slots(node: Node) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(NodeError):
            if node.slots():
                return
        time.sleep(0.05)  # another process is born: it can only be looked for again
    raise NodeError(f"{node.name} has no slots after {PATIENCE_S:g} s; its log:\n{node.log()}")


class Fleet:
    """`environment` is what the nodes' app reads. A context manager: both run while it is entered."""

    def __init__(self, environment: Mapping[str, str], seed: int) -> None:
        self._environment = environment
        self._random = random.Random(seed)
        self._stack = contextlib.ExitStack()
        self._starts = 0
        self.kills: Counter[str] = Counter()

    def __enter__(self) -> Fleet:
        self.shaken, self.steady = self._start("shaken"), self._start("steady")
        try:
            for node in (self.shaken, self.steady):
                wait_for_slots(node)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in (self.shaken, self.steady):
            node.__exit__(None, None, None)

    def _start(self, name: str) -> Node:
        self._starts += 1
        node = Node(
            "faulty", cwd=PROJECT, name=f"{name}{self._starts}@soak", concurrency=2, environment=self._environment,
            loglevel="WARNING",
        )  # fmt: skip
        return node.start()

    def kill_one(self) -> None:
        """kill -9 of somebody; who is gone as a whole is started again."""
        kinds: list[tuple[str, float, Callable[[], None]]] = [
            ("slot", 5, lambda: self._kill(self._random.choice(self._either().slots()))),
            ("template", 2, lambda: self._kill(self._either().template())),
            ("supervisor", 1, self._kill_supervisor),
            ("node", 2, self._kill_node),
        ]
        ((name, _, act),) = self._random.choices(kinds, [share for _, share, _ in kinds])
        with contextlib.suppress(NodeError):  # it has no slots just now
            act()
            self.kills[name] += 1
        for node in (self.shaken, self.steady):
            del node.lines[:-KEPT_LINES]

    def _either(self) -> Node:
        return self._random.choice([self.shaken, self.steady])

    def _kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _kill_supervisor(self) -> None:
        self._kill(self.shaken.pid)
        self.shaken.wait()
        self.shaken = self._start("shaken")

    def _kill_node(self) -> None:
        self.shaken.kill()
        self.shaken = self._start("shaken")

    def log(self) -> str:
        return "\n\n".join(f"=== {node.name}\n{node.log()}" for node in (self.shaken, self.steady))
