"""Prometheus' text format (0.0.4), from numbers: nothing is collected or kept here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_IN_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})

Kind = Literal["counter", "gauge", "histogram"]
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """A name, its kind and a sentence, and the names of its labels."""

    name: str
    kind: Kind
    sentence: str
    labels: tuple[str, ...] = ()


@dataclass(slots=True)
class Family:
    """All that one metric says now. Add with `say` or, for a histogram, `spread`."""

    metric: Metric
    _lines: list[str] = field(default_factory=list)

    def say(self, value: float, labels: Labels | None = None) -> None:
        self._lines.append(_line(self.metric.name, labels or {}, value))

    def spread(self, bounds: Sequence[float], counts: Sequence[int], total: float, labels: Labels) -> None:
        """`counts` are those of each bucket alone, the one beyond all `bounds` last; `total` is the sum of all values."""
        seen = 0
        for bound, count in zip((*bounds, math.inf), counts, strict=True):
            seen += count
            self._lines.append(_line(f"{self.metric.name}_bucket", {**labels, "le": _number(bound)}, seen))
        self._lines.append(_line(f"{self.metric.name}_sum", labels, total))
        self._lines.append(_line(f"{self.metric.name}_count", labels, seen))

    def text(self) -> str:
        if not self._lines:
            return ""
        name = self.metric.name
        head = f"# HELP {name} {self.metric.sentence.translate(_IN_HELP)}\n# TYPE {name} {self.metric.kind}\n"
        return head + "".join(self._lines)


def page(families: Iterable[Family]) -> bytes:
    return "".join(family.text() for family in families).encode()


def _line(name: str, labels: Labels, value: float) -> str:
    said = ",".join(f'{label}="{text.translate(_ESCAPES)}"' for label, text in labels.items())
    return f"{name}{{{said}}} {_number(value)}\n" if said else f"{name} {_number(value)}\n"


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() else repr(value)
