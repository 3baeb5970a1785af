"""The tasks for Dramatiq. A message is acknowledged when its call is over; the result is a command of its own before that."""

import os
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Retries, ShutdownNotifications, TimeLimit
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

import tally

url = os.environ["BENCH_BROKER"]
results = os.environ.get("BENCH_RESULTS") == "1"
# Tuned: without AgeLimit, Callbacks and Pipelines, which do nothing for these tasks.
middleware = [TimeLimit(), ShutdownNotifications(), Retries(max_retries=0)]
if results:
    middleware.append(Results(backend=RedisBackend(url=url), store_results=True))
if url.startswith("amqp"):
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    broker = RabbitmqBroker(url=url, middleware=middleware)
else:
    broker = RedisBroker(url=url, middleware=middleware)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="bench")
def noop():
    tally.bump()


@dramatiq.actor(queue_name="bench")
def nap():
    time.sleep(0.01)
    tally.bump()


@dramatiq.actor(queue_name="bench")
def late(sent_at):
    tally.started(sent_at)


@dramatiq.actor(queue_name="bench")
def add(x, y):
    return x + y


TASKS = {"noop": noop, "nap": nap, "late": late, "add": add}


def send(name, *args):
    return TASKS[name].send(*args)


def result(handle):
    return handle.get_result(block=True, timeout=30_000)


send_many = None  # a group sends one after the other
