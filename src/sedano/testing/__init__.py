"""For users' tests and for authors of drivers.

`clock` is a clock that a test moves; `faults`, `ledger` and `node` break things on purpose. `contracts` are the suites that
every driver passes: they need pytest and are imported by their full name, so that this package costs nothing.
"""

from sedano.testing.clock import FakeClock

__all__ = ["FakeClock"]
