"""The user's own parts of a node: `app.steps`."""

from __future__ import annotations

import re
import signal

from tests.services.worker.nodes import NodeWorld

STEPS = """
from sedano.worker.bootsteps import ConsumerStep, StartStopStep, Step

def note(text):
    with open(HERE + "/notes", "a") as file: file.write(f"{text} {os.getpid() == int(os.environ['NODE'])}\\n")
os.environ.setdefault("NODE", str(os.getpid()))

class Noted(StartStopStep):
    def __init__(self, parent, **options):
        note(f"{type(self).__name__} made of {type(parent).__name__} {options['hostname']}")
    def start(self, parent): note(f"{type(self).__name__} starts")
    def close(self, parent): note(f"{type(self).__name__} closes")
    def stop(self, parent): note(f"{type(self).__name__} stops")

class Second(Noted):
    requires = {"tasks:First", "celery.worker.components:Pool"}
class First(Noted):
    def terminate(self, parent): note("First terminates")
class Last(Noted):
    last = True
class Unwanted(Noted):
    def include_if(self, parent): return False
class Server:
    def start(self): note("server starts")
    def stop(self): note("server stops")
class Made(StartStopStep):
    def create(self, parent): return Server()
class Looks(Step):
    def create(self, parent): note(f"looks at {parent.app.main} {parent.hostname}")
class OfConsumer(Noted): pass

for step in (Last, Second, First, Unwanted): app.steps["worker"].add(step)
for step in (OfConsumer, Made, Looks): app.steps["consumer"].add(step)

@signals.worker_ready.connect
def ready(**_): note("ready")
@signals.worker_shutdown.connect
def over(**_): note("over")
"""


def notes(world: NodeWorld) -> list[str]:
    return (world.folder / "notes").read_text().splitlines()


def test_given_steps_when_a_node_lives_then_they_start_in_order_and_stop_the_other_way_round(world: NodeWorld) -> None:
    world.write_tasks(more=STEPS)
    node = world.ready(concurrency=1)
    assert world.get("add", 1, 1) == 2
    assert node.stop() == 0

    assert notes(world) == [
        f"{note} True"  # all of it in the node's own process
        for note in [
            "First made of Worker w1@test",
            "Second made of Worker w1@test",
            "Unwanted made of Worker w1@test",
            "Last made of Worker w1@test",
            "looks at tasks w1@test",
            "OfConsumer made of Consumer w1@test",
            "First starts",
            "Second starts",
            "Last starts",
            "server starts",
            "OfConsumer starts",
            "ready",
            "OfConsumer closes",
            "Last closes",
            "Second closes",
            "First closes",
            "OfConsumer stops",
            "server stops",
            "Last stops",
            "Second stops",
            "First stops",
            "over",
        ]
    ]


def test_given_a_cold_end_when_a_node_has_steps_then_they_are_terminated(world: NodeWorld) -> None:
    world.write_tasks(more=STEPS)
    node = world.ready(concurrency=1)
    node.signal(signal.SIGQUIT)
    node.wait(30)

    assert [note for note in notes(world) if "First" in note][-1] == "First terminates True"
    assert "Second stops True" in notes(world)


def test_given_a_step_that_cannot_start_when_a_node_starts_then_it_says_so_and_ends(world: NodeWorld) -> None:
    broken = "\nclass Broken(StartStopStep):\n    def start(self, parent): raise ValueError('no oven')\n"
    world.write_tasks(more=STEPS + broken + "app.steps['consumer'].add(Broken)\n")
    node = world.node(concurrency=1)

    assert node.wait(30) == 1

    assert re.search(r"CRITICAL.*the step Broken cannot be started: the worker stops", node.log())
    assert "ValueError: no oven" in node.log()
    assert "First stops True" in notes(world)


def test_given_a_consumer_step_without_kombu_when_a_node_starts_then_it_says_what_to_install(world: NodeWorld) -> None:
    world.write_tasks(more="\nfrom sedano.worker.bootsteps import ConsumerStep\n"
        "class Foreign(ConsumerStep): pass\napp.steps['consumer'].add(Foreign)\n")  # fmt: skip
    node = world.node(concurrency=1)

    assert node.wait(30) != 0

    assert "has Foreign, which consumes through Kombu, and Kombu " in node.log()
