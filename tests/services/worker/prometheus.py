"""A strict reader of Prometheus' text format, for tests of what a scraper is given."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{((?:{_LABEL})(?:,{_LABEL})*)\}})? ([+-]Inf|NaN|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)")
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}

Labels = frozenset[tuple[str, str]]


@dataclass
class Read:
    """`kinds` by metric; `samples` by name and labels, those of buckets and sums under their own names."""

    kinds: dict[str, str] = field(default_factory=dict)
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]

    def get(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    def all(self, name: str) -> dict[Labels, float]:
        return {labels: value for (found, labels), value in self.samples.items() if found == name}


def read(text: str) -> Read:
    """Raises AssertionError for whatever the format does not allow, or a histogram that is none."""
    assert text.endswith("\n")
    found, current, helped = Read(), "", set[str]()
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            assert name not in helped, f"two HELP lines of {name}"
            assert re.fullmatch(rf"# HELP {_NAME} (?:[^\\]|\\[\\n])+", line), line
            helped.add(name)
            continue
        if line.startswith("# TYPE "):
            told = re.fullmatch(rf"# TYPE ({_NAME}) (counter|gauge|histogram)", line)
            assert told, line
            assert told[1] not in found.kinds, f"two TYPE lines of {told[1]}"
            current = told[1]
            found.kinds[current] = told[2]
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, f"no sample: {line!r}"
        name, words, value = match.groups()
        assert name.removeprefix(current) in _SUFFIXES[found.kinds[current]], f"{name} stands among those of {current}"
        labels = _PAIR.findall(words or "")
        assert len({label for label, _ in labels}) == len(labels), line
        key = (name, frozenset(labels))
        assert key not in found.samples, f"twice: {line}"
        found.samples[key] = math.inf if value == "+Inf" else float(value)
    assert helped == set(found.kinds)
    for name, kind in found.kinds.items():
        if kind == "histogram":
            _check_histogram(found, name)
        elif kind == "counter":
            assert name.endswith("_total")
            assert all(value >= 0 for value in found.all(name).values())
    return found


def _check_histogram(found: Read, name: str) -> None:
    series: dict[Labels, list[tuple[float, float]]] = {}
    for labels, value in found.all(f"{name}_bucket").items():
        bound = dict(labels)["le"]
        rest = frozenset(pair for pair in labels if pair[0] != "le")
        series.setdefault(rest, []).append((math.inf if bound == "+Inf" else float(bound), value))
    assert series.keys() == found.all(f"{name}_sum").keys() == found.all(f"{name}_count").keys()
    for rest, buckets in series.items():
        counts = [count for _, count in sorted(buckets)]
        assert counts == sorted(counts), f"{name}{dict(rest)} shrinks"
        assert max(buckets)[0] == math.inf
        assert counts[-1] == found.samples[f"{name}_count", rest]
