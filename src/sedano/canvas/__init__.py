"""Workflows as data: signatures, chain, group, chord, chunks, map, starmap; what goes out of them is planned in `plan.py`."""

from sedano.canvas.chain import chain
from sedano.canvas.chord import chord
from sedano.canvas.group import group
from sedano.canvas.maps import chunks, xmap, xstarmap
from sedano.canvas.signature import Signature, maybe_signature, maybe_subtask, signature, subtask
from sedano.canvas.stamping import StampingVisitor

__all__ = [
    "Signature",
    "StampingVisitor",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "maybe_subtask",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]
