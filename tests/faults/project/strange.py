"""The app that gets bad input: tasks that end in a way nobody can write down, and one that is all right."""

import os

from sedano import Sedano

app = Sedano("strange", broker=os.environ["STRANGE_STORE"], backend=os.environ["STRANGE_STORE"])
app.conf.update(worker_lease_time=2.0, task_unknown_timeout=0, task_dead_retention=3600)


@app.task
def add(x, y):
    return x + y


@app.task
def size(data):
    return len(data)


@app.task
def give(megabytes):
    return "x" * (megabytes << 20)


@app.task
def give_object():
    return object()


@app.task
def give_deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@app.task
def give_itself():
    value = []
    value.append(value)
    return value


@app.task
def give_not_a_number():
    return [float("nan"), float("inf")]


@app.task
def give_surrogate():
    return "half a pair: \ud800"


class Unwritable(Exception):
    """Carries what no serializer takes, and needs two arguments to be made again."""

    def __init__(self, one, two):
        self.lock = two
        super().__init__(one, two)


@app.task
def raise_unwritable():
    raise Unwritable("a lock", object())


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


@app.task
def raise_speechless():
    raise Speechless


class Rude(BaseException):
    """Not an Exception: `except Exception` does not catch it."""


@app.task
def raise_rude():
    raise Rude("rude")


@app.task
def leave():
    raise SystemExit(3)
