"""The suites that every driver passes; an author of a driver subclasses them (see `harness.py` for how). Needs pytest."""

# ruff: noqa: E402 - pytest must hear of the suites before they are imported, to show the values behind a failed assert

import pytest

_SUITES = (
    "broker",
    "bus",
    "coordination",
    "deadletters",
    "harness",
    "leases",
    "opening",
    "pauses",
    "pendings",
    "processes",
    "publishing",
    "results",
    "schedule",
    "schedules",
    "settlements",
    "takeovers",
    "turns",
    "unreadable",
    "waking",
    "workflows",
)
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in _SUITES))

from sedano.testing.contracts.broker import BrokerContract
from sedano.testing.contracts.bus import BusContract
from sedano.testing.contracts.coordination import CoordinationContract
from sedano.testing.contracts.harness import Driver, Slot, StoreUnderTest
from sedano.testing.contracts.results import ResultsContract
from sedano.testing.contracts.schedules import SchedulesContract

__all__ = [
    "BrokerContract",
    "BusContract",
    "CoordinationContract",
    "Driver",
    "ResultsContract",
    "SchedulesContract",
    "Slot",
    "StoreUnderTest",
]
