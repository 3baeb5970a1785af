"""The client of one workflow, which it sends and waits for: the same file for Sedano and for Celery. Prints one JSON object.

python flow.py chord N      N header tasks and a body that gets their results
python flow.py chain N      N steps, each of which gets the result of the one before
python flow.py group N      N members, whose results are all read
python flow.py nested N     chords in headers of chords, N deep
"""

import json
import resource
import sys
import time

from celery_app import ENGINE, add, total

if ENGINE == "sedano":
    from sedano import chain, chord, group
else:
    from celery import chain, chord, group


def nested(depth):
    """At each depth a chord of two: the one below and a call."""
    flow = add.si(0, 1)
    for _ in range(depth):
        flow = chord([flow, add.si(0, 1)], total.s())
    return flow


# What is sent, and what it must give, for a size.
FLOWS = {
    "chord": (lambda n: chord([add.si(i, 1) for i in range(n)], total.s()), lambda n: n * (n + 1) // 2),
    "chain": (lambda n: chain(*[add.s(0, 1), *(add.s(1) for _ in range(n - 1))]), lambda n: n),
    "group": (lambda n: group([add.si(i, 1) for i in range(n)]), lambda n: list(range(1, n + 1))),
    "nested": (nested, lambda n: n + 1),
}


def main(name, size, timeout):
    make, expected = FLOWS[name]
    assert add.delay(1, 1).get(timeout=60) == 2  # connected, declared
    before, used = time.perf_counter(), time.process_time()
    flow = make(size)
    made = time.perf_counter()
    result = flow.apply_async()
    sent = time.perf_counter()
    assert result.get(timeout=timeout) == expected(size)
    done = time.perf_counter()
    return {
        "make_s": made - before,
        "send_s": sent - made,
        "seconds": done - before,
        "client_cpu_s": time.process_time() - used,
        "client_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
