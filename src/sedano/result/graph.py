"""The calls below a result as a graph: who sent what."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, TextIO

Node = Hashable


class DependencyGraph:
    """Nodes with the nodes that depend on them. Iterating gives the nodes, the first added first."""

    def __init__(self, it: Iterable[tuple[Node, Iterable[Node]]] | None = None) -> None:
        self.adjacent: dict[Node, list[Node]] = {node: list(below) for node, below in it or ()}

    def add_arc(self, obj: Node) -> None:
        """Add a node."""
        self.adjacent.setdefault(obj, [])

    def add_edge(self, A: Node, B: Node) -> None:  # noqa: N803 - Celery's names
        """`B` depends on `A`."""
        self.adjacent[A].append(B)

    def valency_of(self, obj: Node) -> int:
        """How many there are at and below a node."""
        return 1 + sum(self.valency_of(below) for below in self.adjacent.get(obj, ()))

    def edges(self) -> list[Node]:
        """The nodes on which others depend."""
        return [node for node, below in self.adjacent.items() if below]

    def items(self) -> Iterable[tuple[Node, list[Node]]]:
        return self.adjacent.items()

    iteritems = items

    def topsort(self) -> list[Node]:
        """What depends on others comes before those others."""
        done: dict[Node, None] = {}
        stack = [(node, iter(below)) for node, below in self.adjacent.items()]
        while stack:
            node, rest = stack[-1]
            below = next((each for each in rest if each not in done), None)
            if below is not None:
                stack.append((below, iter(self.adjacent.get(below, ()))))
            else:
                done.setdefault(node)
                stack.pop()
        return list(done)

    def to_dot(self, fh: TextIO, formatter: Any = None) -> None:
        """Write it in Graphviz's language."""
        del formatter
        fh.write("digraph dependencies {\n")
        for node, below in self.adjacent.items():
            fh.write(f"    {_quoted(node)};\n")
            for each in below:
                fh.write(f"    {_quoted(node)} -> {_quoted(each)};\n")
        fh.write("}\n")

    def __getitem__(self, node: Node) -> list[Node]:
        return self.adjacent[node]

    def __contains__(self, node: object) -> bool:
        return node in self.adjacent

    def __iter__(self) -> Iterator[Node]:
        return iter(self.adjacent)

    def __len__(self) -> int:
        return len(self.adjacent)

    def __repr__(self) -> str:
        return f"<DependencyGraph: {len(self)} nodes>"


def graph_of(pairs: Iterable[tuple[Node | None, Node]]) -> DependencyGraph:
    """From (parent or None, node), parents before their nodes."""
    graph = DependencyGraph()
    for parent, node in pairs:
        graph.add_arc(node)
        if parent is not None:
            graph.add_edge(parent, node)
    return graph


def _quoted(node: Node) -> str:
    text = str(node).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
