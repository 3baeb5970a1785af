"""One soak on one store, from the first call to the verdict."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.soak import gauges
from tests.faults.soak.chaos import Fleet
from tests.faults.soak.mixture import Mixture, Tally
from tests.servers import RedisServer

from sedano import Sedano

LEASE_S = 2.0
PATIENCE_S = 2 * LEASE_S + 30.0
DEAD_RETENTION_S = 5.0
TICK_S = 0.1
MOST_WAITING = 300
PER_TICK = 6


@dataclass
class Report:
    """What was found; `text` is for people."""

    store: str
    tally: Tally = field(default_factory=Tally)
    kills: dict[str, int] = field(default_factory=dict)
    series: list[dict[str, float]] = field(default_factory=list)
    grown: list[str] = field(default_factory=list)
    left: str = ""
    logs: str = ""

    @property
    def is_good(self) -> bool:
        return self.tally.is_good and not self.grown and sum(self.kills.values()) > 0

    @property
    def text(self) -> str:
        return "\n".join([
            f"-- {self.store}: {'good' if self.is_good else 'WRONG'}",
            f"{self.tally}",
            f"kills: {', '.join(f'{name} {count}' for name, count in sorted(self.kills.items()))}",
            gauges.shown(self.series),
            f"left in the store at the end: {self.left}",
            *self.grown,
            *self.tally.wrong,
        ])  # fmt: skip


@dataclass
class Soak:
    """The parts of a running soak."""

    url: str
    server: RedisServer | None
    folder: Path
    mixture: Mixture
    fleet: Fleet
    began: float = field(default_factory=time.monotonic)

    def sample(self) -> dict[str, float]:
        found = {"minute": (time.monotonic() - self.began) / 60}
        found["supervisor memory"], found["supervisor descriptors"] = gauges.of_process(self.fleet.steady.pid)
        found["client memory"], found["client descriptors"] = gauges.of_process(os.getpid())
        found["sockets in the runtime folder"] = float(sum(path.is_socket() for path in self.folder.glob("run/sedano/*")))
        found |= gauges.of_sqlite(self.folder / "store.db") if self.server is None else gauges.of_redis(self.server)
        return found

    def left(self) -> str:
        if self.server is None:
            rows = gauges.rows_of(self.folder / "store.db")
            return ", ".join(f"{name} {count}" for name, count in rows.items() if count)
        return " ".join(sorted(key.decode() for key in self.server.command("KEYS", "*"))[:60])

    def go_on(self, seconds: float, pause_s: float, sample_s: float, report: Report) -> None:
        """Send, look, kill every `pause_s`, measure every `sample_s`."""
        end = self.began + seconds
        next_kill, next_sample = self.began + pause_s, self.began + sample_s
        while (now := time.monotonic()) < end:
            if len(self.mixture.waiting) < MOST_WAITING:
                self.mixture.send(PER_TICK)
            self.mixture.look()
            if now >= next_kill:
                self.fleet.kill_one()
                next_kill = now + pause_s
            if now >= next_sample:
                report.series.append(self.sample())
                next_sample = now + sample_s
            time.sleep(TICK_S)  # the rate

    def drain(self) -> None:
        """Nobody is killed any more: everything gets its outcome."""
        moved_at, left = time.monotonic(), len(self.mixture.waiting)
        while self.mixture.waiting and time.monotonic() < moved_at + PATIENCE_S:
            self.mixture.look()
            if len(self.mixture.waiting) != left:
                moved_at, left = time.monotonic(), len(self.mixture.waiting)
            time.sleep(TICK_S)


@contextlib.contextmanager
def soak_on(store: str, seed: int) -> Iterator[Soak]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True)))
        server = stack.enter_context(RedisServer()) if store == "redis" else None
        url = f"sqlite:///{folder}/store.db" if server is None else server.url
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        environment = {
            "FAULT_BROKER": url, "FAULT_RESULTS": url, "FAULT_ACKS": "early", "FAULT_LEDGER": str(folder / "ledger"),
            "FAULT_LEASE": str(LEASE_S), "FAULT_DELIVERIES": "1000", "FAULT_DEAD_RETENTION": str(DEAD_RETENTION_S),
            "XDG_RUNTIME_DIR": str(runtime),
        }  # fmt: skip
        app = Sedano("soak", broker=url, backend=url, set_as_current=False)
        stack.callback(app.close)
        fleet = stack.enter_context(Fleet(environment, seed))
        yield Soak(url, server, folder, Mixture(app, folder / "ledger", seed), fleet)


def run_soak(store: str, seconds: float, *, pause_s: float = 3.0, seed: int = 0) -> Report:
    """The whole of it. `pause_s` lies between two kills."""
    report = Report(store)
    with soak_on(store, seed) as soak:
        soak.go_on(seconds, pause_s, max(0.5, min(10.0, seconds / 40)), report)
        report.kills = dict(soak.fleet.kills)
        soak.drain()
        report.tally = soak.mixture.close()
        time.sleep(2 * DEAD_RETENTION_S)  # what was kept of failures is thrown away
        report.left = soak.left()
        at_rest = soak.sample()
        report.grown = [*gauges.growth(report.series), *gauges.too_much_at_rest(at_rest)]
        report.series.append(at_rest)
        report.logs = soak.fleet.log()
    return report
