"""What a call costs: microseconds of CPU by step, round trips, system calls, on redis and sqlite. `./dev bench budget`

CPU time and counts, not seconds: both wobble far less on a busy machine. Steps are the least of many short repetitions;
whole ways are quartiles over windows (drain) and blocks of calls (enqueue), so that what interrupts a few of them is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sedano import Celery
from sedano.app.attempt import run_attempt
from sedano.app.context import context_of
from sedano.app.messages import draft
from sedano.contracts import Delivery, encode_settlement
from sedano.drivers.redis import turns
from sedano.drivers.redis.deliveries import new_delivery
from sedano.drivers.redis.keys import ResultKeys
from sedano.protocol import envelope
from sedano.protocol.call import read, read_body
from sedano.worker.context import SlotOptions
from sedano.worker.held import Held
from sedano.worker.intake import Intake
from sedano.worker.settle import Settler
from sedano.worker.slot import Slot
from sedano.worker.table import SharedTable

from servers import Store, store

QUEUE = "bench"
BLOCK = 50
WARM_TURNS = 20

BROKER, RESULTS = os.environ.get("BUDGET_STORE", "memory://"), os.environ.get("BUDGET_RESULTS", "memory://")
app = Celery("budget", broker=BROKER, backend=RESULTS or None)
app.conf.update(task_default_queue=QUEUE, task_ignore_result=not RESULTS, worker_redirect_stdouts=False)


@app.task(name="budget.noop")
def noop() -> None:
    return None


# -- the parent ---------------------------------------------------------------------------------------------------------


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench budget")
    parser.add_argument("--calls", type=int, default=20000, help="how many calls are drained")
    parser.add_argument("--stores", default="redis,sqlite")
    given = parser.parse_args(words)
    steps()
    for kind in given.stores.split(","):
        for results in (True, False):
            with tempfile.TemporaryDirectory(prefix="sedano-budget-") as folder, store(kind, Path(folder)) as fresh:
                print(f"\n{kind}, results {'stored' if results else 'off'}", flush=True)
                whole_ways(fresh, given.calls, results=results)
    return 0


def whole_ways(fresh: Store, calls: int, *, results: bool) -> None:
    # The drain takes what the two kinds of sending have put there.
    child(fresh, "enqueue", min(calls, 3000), results=results)
    child(fresh, "bulk", calls, results=results)
    child(fresh, "drain", calls, results=results)
    if results:
        child(fresh, "roundtrip", 300, results=results)
    for way, count in (("enqueue", 200), ("drain", 1500)):
        made = system_calls(fresh, way, count, results=results)
        print(f"  {way:10} system calls per call: {'strace is not there' if made is None else f'{made:.2f}'}", flush=True)


def environment(fresh: Store, *, results: bool) -> dict[str, str]:
    return {
        **os.environ,
        "BUDGET_STORE": fresh.direct,
        "BUDGET_RESULTS": fresh.direct if results else "",
        "BUDGET_SERVER": str(fresh.pid or 0),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", "")]),
    }


def command(way: str, count: int) -> list[str]:
    return [sys.executable, "-c", f"import budget; budget.{way}({count})"]


def child(fresh: Store, way: str, count: int, *, results: bool) -> None:
    subprocess.run(command(way, count), env=environment(fresh, results=results), check=True, timeout=600)


def system_calls(fresh: Store, way: str, count: int, *, results: bool) -> float | None:
    """How many one more call costs: the difference between a long and a short run, so that starting is left out."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    counts: list[int] = []
    for number in (count, 3 * count):
        if way == "drain":
            child(fresh, "fill", number, results=results)
        with tempfile.NamedTemporaryFile() as trace:
            tracing = [strace, "-f", "-o", trace.name, *command(way, number)]
            done = subprocess.run(
                tracing, check=False, env=environment(fresh, results=results), stdout=subprocess.DEVNULL, timeout=600
            )
            if done.returncode:
                return None
            counts.append(len(re.findall(rb"^\d+ +[a-z_]\w*\(", Path(trace.name).read_bytes(), re.MULTILINE)))
    return (counts[1] - counts[0]) / (2 * count)


# -- the ways, each in a process of its own -----------------------------------------------------------------------------


def server_us() -> float:
    """CPU time of the server so far."""
    pid = os.environ.get("BUDGET_SERVER", "0")
    return 0.0 if pid == "0" else int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e3


def own_us() -> float:
    return time.process_time_ns() / 1e3


def say(way: str, blocks: list[tuple[float, float]], more: str = "") -> None:
    """`blocks` are (own, server) microseconds per call."""
    own = statistics.quantiles([block[0] for block in blocks], n=4)
    server = statistics.quantiles([block[1] for block in blocks], n=4)
    print(f"  {way:10} {own[0]:6.1f} us here ({own[1]:.1f} median)  {server[0]:5.1f} us in the server  {more}", flush=True)


def enqueue(count: int) -> None:
    """One call at a time."""
    for _ in range(BLOCK):
        noop.delay()
    blocks: list[tuple[float, float]] = []
    for _ in range(max(2, count // BLOCK - 1)):
        own, server = own_us(), server_us()
        for _ in range(BLOCK):
            noop.delay()
        blocks.append(((own_us() - own) / BLOCK, (server_us() - server) / BLOCK))
    say("enqueue", blocks, "1 round trip per call")


def fill(count: int) -> None:
    for start in range(0, count, 1000):
        app.send_many(noop.s() for _ in range(min(1000, count - start)))


def bulk(count: int) -> None:
    """`app.send_many`, a thousand at a time."""
    blocks: list[tuple[float, float]] = []
    for _ in range(max(2, count // 1000)):
        own, server = own_us(), server_us()
        fill(1000)
        blocks.append(((own_us() - own) / 1000, (server_us() - server) / 1000))
    say("send_many", blocks, "1 round trip per 1,000 calls")


def drain(count: int) -> None:
    """A slot in this process (pool solo) takes `count` calls out of the queue; the supervisor's threads are counted in."""
    marks: list[tuple[int, float, float]] = []
    turn = Slot._turn
    nowhere, shown = os.open(os.devnull, os.O_WRONLY), os.dup(1)

    def marked(slot: Slot, *arguments: Any, **named: Any) -> Any:
        marks.append((slot._row.processed, own_us(), server_us()))
        if slot._row.processed >= count:
            os.kill(os.getpid(), signal.SIGTERM)
        return turn(slot, *arguments, **named)

    Slot._turn = marked  # type: ignore[method-assign, assignment]
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    with contextlib.suppress(SystemExit):
        app.worker_main(["worker", "-P", "solo", "-l", "WARNING"])
    os.dup2(shown, 1)
    spans = list(zip(marks[WARM_TURNS:], marks[WARM_TURNS + 1 :], strict=False))
    full = [(b[0] - a[0], b[1] - a[1], b[2] - a[2]) for a, b in spans if b[0] - a[0] >= 32]
    if len(full) > 4:
        size = statistics.median(ran for ran, _, _ in full)
        say("drain", [(own / ran, server / ran) for ran, own, server in full], f"1 round trip per {size:.0f} calls")


def roundtrip(count: int) -> None:
    """`delay().get()`, one at a time, with an idle worker beside."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "sedano", "-A", "budget", "worker", "-c", "1", "-l", "ERROR"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(20):
            noop.delay().get(timeout=60)
        blocks: list[tuple[float, float]] = []
        for _ in range(count // BLOCK):
            own, server = own_us(), server_us()
            for _ in range(BLOCK):
                noop.delay().get(timeout=60)
            blocks.append(((own_us() - own) / BLOCK, (server_us() - server) / BLOCK))
        say("round trip", blocks, "of its caller; the server's is the worker's part, too")
    finally:
        worker.terminate()
        worker.wait()


# -- the steps ----------------------------------------------------------------------------------------------------------


def steps() -> None:
    """The parts of a drain, each by itself, in the order in which a call meets them."""
    app.finalize()
    options = SlotOptions((QUEUE,))
    settler = Settler(app, "celery@host", options)
    intake = Intake(settler, "celery@host", options, lambda _: False)
    raw = envelope.encode(draft(app, noop.name, (), {}, {}, task=noop).outgoing().message)
    delivery: Delivery = new_delivery("owner:1", QUEUE, 0, raw)
    message, accept = delivery.message, settler.message_terms.accept
    assert message is not None
    call, body = read(message, accept=accept), read_body(message, accept)
    held = intake.decide(delivery, 1.0)
    assert isinstance(held, Held)
    request = context_of(call, body, hostname="celery@host")
    attempt = run_attempt(noop, request, [], {})
    settlement = settler.settle(held, request, attempt)
    encoded = encode_settlement(settlement)
    writer = turns.ResultWriter(ResultKeys(""), is_ordered=True)
    many = [settlement] * 64
    row = SharedTable.create(1).row(0)
    notes = [held.note() for _ in range(64)]

    def window() -> None:
        row.open_window(notes)
        for k in range(64):
            row.start(k, 1.0)
            row.finish(k, encoded)

    print("steps of a drained no-op, us of CPU each")
    measured: list[tuple[str, Callable[[], object], int]] = [
        ("the envelope to a delivery", lambda: new_delivery("owner:1", QUEUE, 0, raw), 1),
        ("decide: headers, body, expiry, revokes", lambda: intake.decide(delivery, 1.0), 1),
        ("its note in the window, start, finish", window, 64),
        ("the request", lambda: context_of(call, body, hostname="celery@host"), 1),
        ("run: request pushed, body, signals", lambda: run_attempt(noop, request, [], {}), 1),
        ("settle: the result record", lambda: settler.settle(held, request, attempt), 1),
        ("the settlement for the table", lambda: encode_settlement(settlement), 1),
        ("redis: arguments of the turn", lambda: turns.settle_arguments(many, (), writer, {}, 1.0), 64),
    ]
    total = 0.0
    for name, step, calls in measured:
        number = max(1, 100 // calls)
        cost = min(timeit.repeat(step, number=number, repeat=200)) / number / calls * 1e6
        total += cost
        print(f"  {name:42} {cost:6.2f}", flush=True)
    print(f"  {'together':42} {total:6.2f}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
