"""The figures of a run as Markdown, between two marks of `docs/benchmarks.md`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures: written by ./dev bench --table -->", "<!-- end of figures -->"
RABBITMQ_BEGIN = "<!-- figures of RabbitMQ: written by ./dev bench rabbitmq --table -->"
RABBITMQ_END = "<!-- end of figures of RabbitMQ -->"
CELERY = ("celery", "celery tuned")


@dataclass(frozen=True)
class Row:
    """`figure` of a measure on a store. `target` is what Sedano is to reach, "" for a figure that only stands beside others.
    `compares`: ratios are shown."""

    says: str
    measure: str
    store: str
    figure: str
    target: str = ""
    unit: str = "/s"
    more_is_better: bool = True
    compares: bool = True


def less(says: str, measure: str, store: str, figure: str, target: str = "", unit: str = "ms") -> Row:
    return Row(says, measure, store, figure, target, unit, more_is_better=False)


ROWS = [
    Row("drain, no-op, results stored", "drain, results", "redis", "rate", "40,000"),
    less("CPU of the worker per call", "drain, results", "redis", "worker_cpu_us", unit="us"),
    less("CPU of the server per call", "drain, results", "redis", "server_cpu_us", "20", "us"),
    Row("unbatched", "drain, results, unbatched", "redis", "rate"),
    Row("AOF everysec", "drain, results, AOF everysec", "redis-aof", "rate"),
    Row("1 ms away", "drain, results, 1 ms away", "redis-1ms", "rate"),
    Row("10 ms task", "drain, 10 ms task", "redis", "rate"),
    Row("drain, no-op, results off", "drain, no results", "redis", "rate", "60,000"),
    less("CPU of the worker per call", "drain, no results", "redis", "worker_cpu_us", unit="us"),
    Row("enqueue, one call at a time", "drain, results", "redis", "enqueue_rate", "13,000"),
    less("CPU of the sender per call", "drain, results", "redis", "enqueue_cpu_us", unit="us"),
    Row("enqueue, bulk", "drain, results", "redis", "enqueue_bulk_rate", "100,000"),
    less("round trip, idle, p50", "waited for", "redis", "trip_p50_ms", "0.6"),
    less("round trip, idle, p99", "waited for", "redis", "trip_p99_ms", "2"),
    less("enqueue to start at 200/s, p50", "waited for", "redis", "start_p50_ms", "0.35"),
    less("enqueue to start at 200/s, p99", "waited for", "redis", "start_p99_ms"),
    less("2,000 tasks sleeping 10 ms, 100 at once", "2,000 naps, 100 at once", "redis", "seconds", "0.30", "s"),
    less("idle worker, 2 processes, PSS", "waited for", "redis", "idle_pss_mb", "50", "MB"),
    less("100,000 ETA calls, extra memory", "delayed calls", "redis", "extra_mb_per_100k", "2", "MB"),
    # An engine that lets most calls wait for an hour is soon ready with the rest: no ratios.
    Row("whole fleet killed: last call run after", "fleet killed", "redis", "seconds", "30", "s", False, compares=False),
    Row("and calls that had not run 35 s later, of 1,000", "fleet killed", "redis", "not_run", "", "", False, compares=False),
    less("import of an app with a task, CPU", "startup", "redis", "import_ms"),
    less("the same without bytecode cache", "startup", "redis", "import_cold_ms"),
    less("--help, CPU", "startup", "redis", "help_ms"),
    less("worker ready", "startup", "redis", "ready_ms"),
    less("the same without bytecode cache", "startup", "redis", "ready_cold_ms"),
    Row("drain on SQLite, results stored", "drain, results", "sqlite", "rate", "15,000"),
    Row("enqueue on SQLite", "drain, results", "sqlite", "enqueue_rate", "10,000"),
    less("round trip on SQLite, p50", "waited for", "sqlite", "trip_p50_ms"),
    less("enqueue to start at 200/s on SQLite, p50", "waited for", "sqlite", "start_p50_ms"),
]


RABBITMQ_ROWS = [
    Row("drain of a classic queue, no-op, results off", "drain, no results", "rabbitmq", "rate"),
    less("CPU of the worker per call", "drain, no results", "rabbitmq", "worker_cpu_us", unit="us"),
    less("CPU of the server per call", "drain, no results", "rabbitmq", "server_cpu_us", unit="us"),
    Row("drain of a quorum queue, results off", "drain, no results", "rabbitmq-quorum", "rate"),
    less("CPU of the worker per call", "drain, no results", "rabbitmq-quorum", "worker_cpu_us", unit="us"),
    less("CPU of the server per call", "drain, no results", "rabbitmq-quorum", "server_cpu_us", unit="us"),
    Row("drain of a classic queue, results by rpc", "drain, results (rpc)", "rabbitmq", "rate"),
    Row("10 ms task", "drain, 10 ms task", "rabbitmq", "rate"),
    Row("enqueue, one call at a time; ours is confirmed", "drain, no results", "rabbitmq", "enqueue_rate"),
    less("CPU of the sender per call", "drain, no results", "rabbitmq", "enqueue_cpu_us", unit="us"),
    Row("enqueue, bulk, confirmed", "drain, no results", "rabbitmq", "enqueue_bulk_rate"),
    less("round trip, idle, p50", "waited for", "rabbitmq", "trip_p50_ms"),
    less("round trip, idle, p99", "waited for", "rabbitmq", "trip_p99_ms"),
    less("enqueue to start at 200/s, p50", "waited for", "rabbitmq", "start_p50_ms"),
    less("idle worker, 2 processes, PSS", "waited for", "rabbitmq", "idle_pss_mb", unit="MB"),
]


def write(raw: dict[str, Any], page: Path = PAGE) -> None:
    """Put the tables of what this run has measured between their marks. Raises ValueError when the page has none."""
    kinds = {each["store"].partition("-")[0] for each in raw["measures"]}
    text = page.read_text()
    if kinds - {"rabbitmq"}:
        text = _put(text, BEGIN, END, markdown(raw))
    if "rabbitmq" in kinds:
        text = _put(text, RABBITMQ_BEGIN, RABBITMQ_END, markdown(raw, RABBITMQ_ROWS))
    page.write_text(text)


def _put(text: str, begin: str, end: str, table: str) -> str:
    head, is_begun, rest = text.partition(begin)
    _, is_ended, tail = rest.partition(end)
    if not is_begun or not is_ended:
        raise ValueError(f"{PAGE} lacks the marks {begin} and {end}")
    return f"{head}{begin}\n\n{table}\n{end}{tail}"


def markdown(raw: dict[str, Any], rows: Sequence[Row] = ROWS) -> str:
    found = {
        (each["measure"], each["store"]): {engine: _medians(rounds) for engine, rounds in each["figures"].items()}
        for each in raw["measures"]
    }
    lines = [
        "| measure | target | Sedano | Celery | | Celery tuned | | best peer | | bare loop |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(_line(row, found.get((row.measure, row.store), {})) for row in rows),
    ]
    about = raw["about"]
    engines = "; ".join(
        f"{name}: {', '.join(f'{package} {version}' for package, version in versions.items())}"
        for name, versions in about["engines"].items()
        if versions
    )
    server = f"Redis {about['redis']}" if rows is ROWS else f"RabbitMQ {about.get('rabbitmq') or '(version unknown)'}"
    lines += [
        "",
        (
            f"Run of {about['when']} on {about['cpus']} processors ({about['machine']}), load before {about['load']:.2f}, "
            f"Python {about['python']}, {server}; "
            f"{about['rounds']} rounds at scale {about['scale']:g}. {engines}."
        ),
        "",
    ]
    return "\n".join(lines)


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(figures[key] for figures in rounds if key in figures) for key in rounds[0]}


def _line(row: Row, engines: dict[str, dict[str, float]]) -> str:
    values = {name: figures[row.figure] for name, figures in engines.items() if row.figure in figures}
    ours = values.get("sedano")
    peers = {name: value for name, value in values.items() if name not in ("sedano", "bare loop", *CELERY)}
    best = (max if row.more_is_better else min)(peers, key=lambda name: peers[name], default=None)
    sign = ">= " if row.more_is_better else "<= "
    cells = [row.says, f"{sign}{row.target} {row.unit}".strip() if row.target else "", _value(row, ours, mark="**")]
    for name in CELERY:
        cells += [_value(row, values.get(name)), _ratio(row, ours, values.get(name))]
    cells += [
        "" if best is None else f"{best} {_value(row, peers[best])}",
        "" if best is None else _ratio(row, ours, peers[best]),
        _value(row, values.get("bare loop")),
    ]
    return f"| {' | '.join(cells)} |"


def _value(row: Row, value: float | None, mark: str = "") -> str:
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return mark + f"{value:,.{digits}f} {row.unit}".replace(" /s", "/s").strip() + mark


def _ratio(row: Row, ours: float | None, theirs: float | None) -> str:
    """How many times better ours is."""
    if not row.compares or not ours or not theirs or min(ours, theirs) <= 0:
        return ""
    return f"x {(ours / theirs if row.more_is_better else theirs / ours):.3g}"
