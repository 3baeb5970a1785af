"""A caller that does what a test tells it: reads snippets of Python, answers with their values.

Run as `python peer.py` it is a real Celery, as `python -m sedano.as_celery peer.py` it is Sedano. One line per message,
base64 of a pickle: in (source, variables), out (True, value) or (False, traceback).
"""

import ast
import base64
import gc
import os
import pickle
import sys
import time
import traceback
from datetime import datetime, timedelta, timezone  # noqa: F401 - for the snippets

import calc
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import AsyncResult

PATIENCE = 60


def look_again(get):
    """`AsyncResult.get` of a Celery that looks once more when nothing was pushed to it.

    Celery subscribes on one connection and looks on another, once: what is stored between the two it waits for until its
    timeout (seen with 5.4, rarely). The result is there for whoever asks again, which is what a test of ours wants to know.
    """

    def patient(result, timeout=None, **options):
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = 5.0 if deadline is None else min(5.0, deadline - time.monotonic())
            try:
                return get(result, timeout=max(left, 0.01), **options)
            except CeleryTimeoutError:
                if deadline is not None and time.monotonic() >= deadline:
                    raise

    return patient


def outcome(result, timeout=PATIENCE):
    """What the caller sees: ("value", v), or ("raised", class name, args)."""
    try:
        return "value", result.get(timeout=timeout)
    except Exception as exc:
        return "raised", type(exc).__name__, exc.args


def until(claim, timeout=PATIENCE):
    """The first true answer of `claim`."""
    deadline = time.monotonic() + timeout
    while True:
        answer = claim()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError("it did not become true in time")
        time.sleep(0.01)


def opened(gate):
    """Open a gate of `calc.wait_for`."""
    with open(os.path.join(calc.FOLDER, gate), "w"):
        pass


def run(source, variables):
    names = {**globals(), **vars(calc), **variables}
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "<snippet>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<snippet>", "eval"), names) if last is not None else None


def serve(requests, answers):
    if not AsyncResult.__module__.startswith("sedano"):
        AsyncResult.get = look_again(AsyncResult.get)
    # A Celery result that the collector finds while another one subscribes waits for the lock that its own thread holds:
    # its `__del__` unsubscribes (seen with 5.4 and redis-py 5, Celery on both sides). So it is collected in between.
    gc.disable()
    for line in requests:
        gc.collect()
        try:
            answer = pickle.dumps((True, run(*pickle.loads(base64.b64decode(line)))))
        except Exception:
            answer = pickle.dumps((False, traceback.format_exc()))
        answers.write(base64.b64encode(answer) + b"\n")
        answers.flush()


if __name__ == "__main__":
    # What a snippet prints must not come between the answers.
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    channel.write(b"ready\n")
    channel.flush()
    serve(sys.stdin.buffer, channel)
