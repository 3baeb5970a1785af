"""For users' tests and for authors of drivers.

`clock` is a clock that a test moves. To break things on purpose: `faults` (crash points), `node` (a real worker that is
killed, paused, stopped), `proxy` (a network that fails), `wallclock` (a clock that jumps), `room` (a store that is full),
`ledger` (what really ran, and the verdict). `contracts` are the suites that every driver passes: they need pytest and are
imported by their full name, so that this package costs nothing.
"""

from sedano.testing.clock import FakeClock

__all__ = ["FakeClock"]
