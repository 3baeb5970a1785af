"""What our own AMQP connection costs beside py-amqp's, which Celery uses: `./dev bench amqp`.

Each client is a process of its own on a private RabbitMQ; they take turns, and the figures are medians. The server is the limit
of both, so the CPU time of the client's process is the figure that compares them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from environments import environment

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.rabbit import RabbitServer

PROGRAM = Path(__file__).resolve().parent / "apps" / "amqp_client.py"
STEPS = ("publish", "consume")


def main(words: Sequence[str], keep: Callable[[str, object], None]) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench amqp")
    parser.add_argument("--messages", type=int, default=50_000, help="a multiple of 1000")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(words)
    pythons = {"ours": sys.executable, "py-amqp": str(environment("amqp>=5.4,<6"))}
    raw: dict[str, list[dict[str, tuple[float, float]]]] = {name: [] for name in pythons}
    with RabbitServer() as server:
        for _ in range(asked.rounds):
            for name, python in pythons.items():
                command = [python, str(PROGRAM), name, str(server.port), str(asked.messages)]
                raw[name].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print(f"{'messages a second':20}{'by the clock':>16}{'by CPU time':>16}")
    for step in STEPS:
        for name, rounds in raw.items():
            wall, cpu = (statistics.median(one[step][place] for one in rounds) for place in (0, 1))
            print(f"{f'{step}, {name}':20}{wall:16,.0f}{cpu:16,.0f}")
    keep("amqp", {"messages": asked.messages, "per second (wall, cpu)": raw})
    return 0
