"""All faults, in the order of the table."""

from __future__ import annotations

from tests.faults.matrix import endings, files, kills, network, rabbit, servers, standstill

FAULTS = {
    fault.name: fault
    for fault in [
        *kills.FAULTS,
        *endings.FAULTS,
        *standstill.FAULTS,
        *servers.FAULTS,
        *rabbit.FAULTS,
        *network.FAULTS,
        *files.FAULTS,
    ]
}
