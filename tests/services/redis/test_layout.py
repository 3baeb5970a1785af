"""What stands in the keys: Kombu's layout to the letter, ours beside it (`drivers/redis/keys.py`)."""

from __future__ import annotations

import json
import time

import pytest
from tests.services.redis.world import QUEUE, World

from sedano.contracts import Begin, BeginRule, ChordPart, Delay, OpenOptions, Outgoing, QueueSpec, Standing
from sedano.drivers.redis.address import address_of
from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.stream import Subscription
from sedano.exceptions import BrokerUnavailable, ImproperlyConfigured, MessageTooLarge, OperationalError
from sedano.protocol import envelope
from sedano.protocol.message import Message
from sedano.testing.clock import FakeClock
from sedano.testing.contracts.harness import Slot
from sedano.testing.contracts.messages import batch, bound, dead, message, outgoing, requeue, result, settlement

pytestmark = pytest.mark.redis

SEP = b"\x06\x16"


# -- publishing ------------------------------------------------------------------------------------------------------------


def test_given_priorities_when_published_then_the_lists_are_those_of_kombu(world: World) -> None:
    world.broker().publish([outgoing(QUEUE, str(priority), priority=priority) for priority in (0, 2, 3, 5, 9)])
    ids = {step: [item["headers"]["id"] for item in world.list(key)] for step, key in
           [(0, QUEUE), (3, f"{QUEUE}\x06\x163"), (6, f"{QUEUE}\x06\x166"), (9, f"{QUEUE}\x06\x169")]}  # fmt: skip
    assert ids == {0: ["0", "2"], 3: ["3", "5"], 6: [], 9: ["9"]}


def test_given_a_key_that_is_no_list_when_work_is_taken_then_nothing_of_other_queues_is_lost(world: World) -> None:
    broker = world.broker()
    slot = Slot(broker, world.lease(broker))
    broker.publish(batch(QUEUE, "abc"))
    world.command("SET", "strange", "x")
    assert [delivery.queue for delivery in slot.reserve(QUEUE, "strange", limit=10)] == [QUEUE] * 3
    assert slot.depth(QUEUE).reserved == 3
    with pytest.raises(OperationalError, match="strange is no queue but a string"):
        slot.reserve(QUEUE, "strange", limit=10)
    slot.broker.publish(batch(QUEUE, "d"))
    with pytest.raises(OperationalError, match="strange is no queue"):
        slot.reserve("strange", QUEUE, limit=10)
    assert slot.depth(QUEUE).ready == 1


def test_given_a_key_that_is_no_list_when_it_is_sent_to_then_nothing_beside_it_is_published_either(world: World) -> None:
    broker = world.broker()
    world.command("SET", "strange", "x")
    with pytest.raises(OperationalError, match="strange is no queue but a string"):
        broker.publish([*batch(QUEUE, ["a"]), *batch("strange", ["b"])])
    assert world.list(QUEUE) == []


def test_given_a_key_that_is_no_list_when_a_settlement_sends_to_it_then_nothing_of_the_turn_is_done(world: World) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    world.command("SET", "strange", "x")
    broker.publish(batch(QUEUE, ["a", "b"]))
    first, second = broker.turn(lease, reserve=2, queues=[QUEUE]).reserved
    settlements = [
        settlement(first, messages_out=tuple(batch("next", ["c"]))),
        settlement(second, messages_out=tuple(batch("strange", ["d"]))),
    ]
    with pytest.raises(OperationalError, match="strange is no queue"):
        broker.turn(lease, settle=settlements)
    assert world.list("next") == []
    assert broker.turn(lease, settle=settlements[:1]).refused == []
    assert len(world.list("next")) == 1


def test_given_a_result_that_no_redis_takes_when_it_is_settled_then_it_is_refused_and_the_connection_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    broker.publish(batch(QUEUE, ["a"]))
    (delivery,) = broker.turn(lease, reserve=1, queues=[QUEUE]).reserved
    monkeypatch.setattr("sedano.drivers.redis.wire.MAX_ARGUMENT_BYTES", 1000)
    with pytest.raises(MessageTooLarge, match="the result of a has 1000 bytes"):
        broker.turn(lease, settle=[settlement(delivery, result=result("a", b"x" * 1000))])
    assert broker.turn(lease, settle=[settlement(delivery)]).refused == []


def test_given_a_result_key_of_another_type_when_a_failure_is_settled_then_it_is_overwritten(world: World) -> None:
    broker, results = world.broker(), world.results()
    lease = world.lease(broker)
    world.command("LPUSH", "celery-task-meta-a", "x")
    broker.publish(batch(QUEUE, ["a"]))
    (delivery,) = broker.turn(lease, reserve=1, queues=[QUEUE]).reserved
    broker.turn(lease, settle=[settlement(delivery, result=result("a", b'{"status": "FAILURE"}'))])
    assert results.fetch(["a"]) == [b'{"status": "FAILURE"}']


def test_given_a_declared_queue_when_bound_then_kombus_two_sets_have_it(world: World) -> None:
    world.broker().declare([QueueSpec(QUEUE, exchange="celery", routing_key="celery")])
    member = b"celery" + SEP + SEP + b"celery"
    assert world.command("SMEMBERS", "_kombu.binding.celery") == [member]
    assert world.command("SMEMBERS", "_kombu.binding_permanent.celery") == [member]
    assert world.command("ZCARD", "_kombu.binding_deadlines") == 0


def test_given_a_topic_binding_when_declared_then_its_pattern_is_the_one_kombu_writes(world: World) -> None:
    world.broker().declare([bound("images", "media", "topic", "media.*.image-1.#")])
    member = b"media.*.image-1.#" + SEP + rb"^media\.[^\.]+\.image\-1\..*?$" + SEP + b"images"
    assert world.command("SMEMBERS", "_kombu.binding.media") == [member]


def test_given_an_expiring_queue_when_declared_and_sent_to_then_deadline_and_life_are_set(world: World) -> None:
    broker = world.broker()
    broker.declare([QueueSpec("brief", exchange="brief", routing_key="brief", arguments={"x-expires": 60_000})])
    assert world.command("EXISTS", "_kombu.binding_permanent.brief") == 0
    deadline = float(world.command("ZSCORE", "_kombu.binding_deadlines", "brief")) / 1000
    assert 3500 < deadline - time.time() < 3700
    broker.publish([outgoing("brief", "a"), outgoing("brief", "b", priority=9)])
    for key in ("brief", "brief\x06\x169"):
        assert 50_000 < world.command("PTTL", key) <= 60_000


def test_given_expiring_queues_when_renewing_much_later_then_the_deadline_is_put_off(world: World) -> None:
    clock = FakeClock()
    broker = world.broker(clock=clock)
    broker.declare([QueueSpec("brief", exchange="brief", routing_key="brief", arguments={"x-expires": 60_000})])
    world.command("ZADD", "_kombu.binding_deadlines", 1, "brief")
    broker.renew([])
    assert float(world.command("ZSCORE", "_kombu.binding_deadlines", "brief")) == 1
    clock.advance(3600)
    broker.renew([])
    assert float(world.command("ZSCORE", "_kombu.binding_deadlines", "brief")) > time.time() * 1000


def test_given_a_fanout_exchange_when_published_then_subscribers_of_kombus_channel_hear_it(world: World) -> None:
    bus_channel = "/0.news/sport"
    subscription = Subscription(Connection(address_of(world.server.url, {}, OpenOptions()), BrokerUnavailable))
    world.closing(subscription)
    subscription.subscribe([bus_channel])
    sent = message("a", queue="sport", exchange="news")
    world.broker().publish([Outgoing(sent, "sport", exchange="news", exchange_type="fanout")])
    ((channel, payload),) = subscription.receive(5.0)
    assert channel.decode() == bus_channel
    assert envelope.decode(payload).headers["id"] == "a"


def test_given_a_global_prefix_when_used_then_every_key_carries_it(world: World) -> None:
    broker = world.broker(transport={"global_keyprefix": "bk:"}, results_transport={"global_keyprefix": "myapp"})
    broker.declare([QueueSpec(QUEUE, exchange=QUEUE, routing_key=QUEUE)])
    broker.publish(batch(QUEUE, "abcd"))
    lease = world.lease(broker)
    first, second, third, _ = broker.turn(lease, reserve=4, queues=[QUEUE]).reserved
    broker.turn(lease, delay=[Delay(third.tag, 9e9)], begin=[Begin(first.tag, True), Begin(second.tag, True)])
    note = dead(second, 1e9)
    broker.turn(lease, settle=[settlement(first, result=result("a")), note])
    broker.release(lease, None)
    results = {key for key in world.all_keys() if key.startswith("myapp_")}
    assert results == {"myapp_celery-task-meta-a"}
    assert all(key.startswith("bk:") for key in world.all_keys() - results)
    assert broker.queues() == [QUEUE]
    assert world.command("LLEN", "bk:celery") == 1


def test_given_a_message_longer_than_redis_takes_when_published_then_it_is_refused_before_it_is_sent(world: World) -> None:
    huge = Message(b"x" * (400 << 20), "text/plain", "utf-8", {"id": "a", "task": "t"}, {"body_encoding": "base64"})
    broker = world.broker()
    with pytest.raises(MessageTooLarge, match="512 MiB"):
        broker.publish([Outgoing(huge, QUEUE)])
    broker.publish(batch(QUEUE, "a"))


# -- unacked ---------------------------------------------------------------------------------------------------------------


def test_given_a_reserved_delivery_when_looked_at_then_kombu_can_restore_it(world: World) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    sent = outgoing(QUEUE, "a", priority=5)
    broker.publish([sent])
    (delivery,) = broker.turn(lease, reserve=1, queues=[QUEUE]).reserved
    ((field, (raw, exchange, routing_key)),) = world.unacked().items()
    assert field == delivery.tag
    assert field.startswith(lease.owner + ":")
    assert field != sent.message.properties["delivery_tag"]
    assert (exchange, routing_key) == ("", QUEUE)
    assert raw == json.loads(delivery.raw)
    assert abs(float(world.command("ZSCORE", "unacked_index", field)) - time.time()) < 5


@pytest.mark.parametrize("queue", ['say "hi"', "日本", "a\\b", 'x,"","y', "with space", "a:b/c"])
def test_given_an_odd_queue_name_when_reserved_then_the_entry_is_json_and_release_finds_the_way_back(
    world: World, queue: str
) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    broker.publish(batch(queue, "ab", priority=3))
    broker.turn(lease, reserve=2, queues=[queue])
    assert {tuple(value[1:]) for value in world.unacked().values()} == {("", queue)}
    assert broker.release(lease, None) == 2
    assert [item["headers"]["id"] for item in world.list(f"{queue}\x06\x163")] == ["a", "b"]
    assert world.unacked() == {}


def test_given_an_early_begun_call_when_looked_at_then_no_celery_worker_can_restore_it(world: World) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    broker.publish(batch(QUEUE, "ab"))
    early, late = broker.turn(lease, reserve=2, queues=[QUEUE]).reserved
    broker.turn(lease, begin=[Begin(early.tag, True), Begin(late.tag, False)])
    assert list(world.unacked()) == [late.tag]
    assert world.command("ZRANGE", "unacked_index", 0, -1) == [late.tag.encode()]
    assert world.hash(f"_sedano.kept.{lease.owner}")[early.tag] == early.raw


def test_given_everything_settled_when_looked_at_then_nothing_of_it_is_left(world: World) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    broker.publish(batch(QUEUE, "abcd"))
    deliveries = broker.turn(lease, reserve=4, queues=[QUEUE]).reserved
    broker.turn(lease, begin=[Begin(one.tag, number % 2 == 0) for number, one in enumerate(deliveries[:3])])
    broker.turn(lease, settle=[settlement(one) for one in deliveries])
    broker.retire(lease)
    assert world.all_keys() == {"_sedano.fence", "_sedano.layout", "_sedano.queues", "_sedano.sequence"}


def test_given_bytes_that_are_no_json_when_reserved_then_they_never_stay_in_unacked(world: World) -> None:
    """One such entry stops every Celery worker's restore. The last two look whole to a cheap look."""
    bad = [b"garbage", b'{"a": 1', b"\xff\xfe", b"", b'{"a" }}', b'{"headers": {"x": nope}}']
    for item in bad:
        world.command("LPUSH", QUEUE, item)
    broker = world.broker()
    lease = world.lease(broker)
    broker.publish(batch(QUEUE, "a"))
    deliveries = broker.turn(lease, reserve=10, queues=[QUEUE]).reserved
    assert [delivery.raw for delivery in deliveries[:-1]] == bad
    assert all(delivery.unreadable for delivery in deliveries[:-1])
    assert list(world.unacked()) == [deliveries[-1].tag]
    reaper = world.lease(broker)
    (record,) = [record for record in broker.leases() if record.owner == lease.owner]
    taken = broker.take_over(record, reaper, limit=100).deliveries
    assert [delivery.raw for delivery in taken] == [delivery.raw for delivery in deliveries]
    assert broker.release(reaper, None) == 7
    assert list(reversed(world.command("LRANGE", QUEUE, 0, -1)))[:-1] == bad


@pytest.mark.parametrize("early", [False, True])
def test_given_bytes_that_look_like_a_call_when_begun_in_the_turn_that_reserves_them_then_they_leave_unacked(
    world: World, early: bool
) -> None:
    bad = b'{"headers": {"lang": "py", "task": "tests.add", nope}}'
    world.command("LPUSH", QUEUE, bad)
    broker = world.broker()
    lease, other = world.lease(broker), world.lease(broker)
    broker.publish(batch(QUEUE, "a"))
    rule = BeginRule(early, frozenset(), {"tests.add": 1000}, 20_000, 10)
    delivery, good = broker.turn(lease, reserve=2, queues=[QUEUE], begin_new=rule).reserved
    assert delivery.unreadable
    assert [one.standing for one in (delivery, good)] == [Standing.BEGUN_EARLY if early else Standing.BEGUN_LATE] * 2
    assert list(world.unacked()) == ([] if early else [good.tag])
    assert broker.turn(lease, settle=[dead(delivery, time.time())]).refused == []
    # One that is not settled comes to somebody else, exactly as it was.
    world.command("LPUSH", QUEUE, bad)
    broker.turn(lease, reserve=1, queues=[QUEUE], begin_new=rule)
    (record,) = [record for record in broker.leases() if record.owner == lease.owner]
    assert bad in [one.raw for one in broker.take_over(record, other, limit=10, force=True).deliveries]


def test_given_an_owner_that_died_before_it_looked_at_its_bytes_when_taken_over_then_they_leave_unacked(world: World) -> None:
    bad = b'{"a" }}'
    world.command("LPUSH", QUEUE, bad)
    broker = world.broker()
    lease, reaper = world.lease(broker), world.lease(broker)
    (delivery,) = broker.turn(lease, reserve=1, queues=[QUEUE]).reserved
    world.command("HSET", f"_sedano.held.{lease.owner}", delivery.tag, f"r0:{QUEUE}")
    world.command("HSET", "unacked", delivery.tag, b'[%b,"","celery"]' % bad)
    world.command("ZADD", "unacked_index", 1, delivery.tag)
    (record,) = [record for record in broker.leases() if record.owner == lease.owner]
    (taken,) = broker.take_over(record, reaper, limit=10).deliveries
    assert (taken.raw, taken.message) == (bad, None)
    assert world.hash("unacked") == {}
    assert broker.turn(reaper, settle=[dead(taken, time.time())]).refused == []
    assert [letter.raw for letter in broker.dead_letters(QUEUE)] == [bad]


def test_given_json_of_an_unusual_shape_when_reserved_then_celery_still_finds_it_in_unacked(world: World) -> None:
    """Another program may write the parts in another order."""
    sent = message("a", queue=QUEUE)
    parts = json.loads(envelope.encode(sent))
    world.command("LPUSH", QUEUE, json.dumps(dict(reversed(parts.items())), indent=1))
    broker = world.broker()
    (delivery,) = broker.turn(world.lease(broker), reserve=1, queues=[QUEUE]).reserved
    assert delivery.message is not None
    assert list(world.unacked()) == [delivery.tag]


def test_given_a_long_run_when_renewed_then_its_score_moves_and_celery_leaves_it_alone(world: World) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    broker.publish(batch(QUEUE, "ab"))
    early, late = broker.turn(lease, reserve=2, queues=[QUEUE]).reserved
    broker.turn(lease, begin=[Begin(early.tag, True), Begin(late.tag, False)])
    world.command("ZADD", "unacked_index", 1000, late.tag)
    broker.renew([lease])
    assert float(world.command("ZSCORE", "unacked_index", late.tag)) == 1000  # fresh enough
    world.command("HSET", f"_sedano.lease.{lease.owner}", "scored", 1000)
    broker.renew([lease])
    assert abs(float(world.command("ZSCORE", "unacked_index", late.tag)) - time.time()) < 5
    assert world.command("ZCARD", "unacked_index") == 1


def test_given_a_taken_over_delivery_when_looked_at_then_its_score_is_fresh(world: World) -> None:
    broker = world.broker()
    lease, reaper = world.lease(broker), world.lease(broker)
    broker.publish(batch(QUEUE, "a"))
    (delivery,) = broker.turn(lease, reserve=1, queues=[QUEUE]).reserved
    world.command("ZADD", "unacked_index", 1000, delivery.tag)
    (record,) = [record for record in broker.leases() if record.owner == lease.owner]
    broker.take_over(record, reaper, limit=10)
    assert abs(float(world.command("ZSCORE", "unacked_index", delivery.tag)) - time.time()) < 5


# -- what a Celery worker has put back behind our back -----------------------------------------------------------------------


def restore_as_celery(world: World, tag: str) -> None:
    raw = world.unacked()[tag][0]
    world.command("HDEL", "unacked", tag)
    world.command("ZREM", "unacked_index", tag)
    world.command("RPUSH", QUEUE, json.dumps(raw))


def test_given_a_call_that_celery_put_back_when_begun_delayed_or_released_then_it_exists_once(world: World) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    broker.publish(batch(QUEUE, "abc"))
    deliveries = broker.turn(lease, reserve=3, queues=[QUEUE]).reserved
    for delivery in deliveries:
        restore_as_celery(world, delivery.tag)
    first, second, third = deliveries
    assert broker.turn(lease, begin=[Begin(first.tag, True)], delay=[Delay(second.tag, 1.0)]).refused == [second.tag, first.tag]
    assert broker.release(lease, [third.tag]) == 0
    assert broker.depth([QUEUE])[0].ready == 3
    assert broker.depth([QUEUE])[0].reserved == 0
    assert world.hash(f"_sedano.held.{lease.owner}") == {}


def test_given_a_running_call_that_celery_put_back_when_it_ends_then_its_result_counts_and_no_copy_is_added(
    world: World,
) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    broker.publish(batch(QUEUE, "ab"))
    first, second = broker.turn(lease, reserve=2, queues=[QUEUE]).reserved
    broker.turn(lease, begin=[Begin(first.tag, False), Begin(second.tag, False)])
    restore_as_celery(world, first.tag)
    restore_as_celery(world, second.tag)
    assert broker.turn(lease, settle=[settlement(first, result=result("a")), requeue(second)]).refused == []
    assert world.results().fetch(["a"]) != [None]
    assert broker.depth([QUEUE])[0].ready == 2


def test_given_a_dead_owner_whose_calls_celery_put_back_when_taken_over_then_nothing_is_given_twice(world: World) -> None:
    broker = world.broker()
    lease, reaper = world.lease(broker), world.lease(broker)
    broker.publish(batch(QUEUE, "abc"))
    first, second, third = broker.turn(lease, reserve=3, queues=[QUEUE]).reserved
    broker.turn(lease, begin=[Begin(first.tag, True), Begin(second.tag, False)])
    restore_as_celery(world, second.tag)
    restore_as_celery(world, third.tag)
    (record,) = [record for record in broker.leases() if record.owner == lease.owner]
    taken = broker.take_over(record, reaper, limit=10)
    assert [delivery.tag for delivery in taken.deliveries] == [first.tag]
    assert not taken.more


# -- databases, versions -----------------------------------------------------------------------------------------------------


def test_given_results_in_another_database_when_settled_then_both_are_written_in_one_step(world: World) -> None:
    broker = world.broker(2, results_db=5)
    assert broker.capabilities.shared_results
    lease = world.lease(broker)
    results = world.results(5)
    assert results.start_chord("g", 1, 100.0) is None
    broker.publish(batch(QUEUE, "a"))
    (delivery,) = broker.turn(lease, reserve=1, queues=[QUEUE]).reserved
    part = ChordPart("g", "a", 0, b'[1, "a", "SUCCESS", 1]', 100.0)
    out = (outgoing(QUEUE, "next"),)
    reply = broker.turn(
        lease, settle=[settlement(delivery, result=result("a"), chord_part=part, messages_out=out)], reserve=1, queues=[QUEUE]
    )
    assert [chord.group_id for chord in reply.chords] == ["g"]
    assert [one.message.headers["id"] for one in reply.reserved if one.message] == ["next"]
    assert results.fetch(["a"]) == [result("a").payload]
    assert results.chord_parts("g") == [part.payload]
    assert broker.depth([QUEUE])[0].begun == 0


def test_given_keys_of_another_layout_when_registering_then_it_is_refused_politely(world: World) -> None:
    world.command("SET", "_sedano.layout", "99")
    with pytest.raises(ImproperlyConfigured, match="layout '99'"):
        world.broker().register("o", "n")


def test_given_a_success_when_a_later_run_fails_then_the_success_stays_as_in_celery(world: World) -> None:
    results = world.results()
    success, failure = b'{"status": "SUCCESS", "result": 1}', b'{"status": "FAILURE", "result": 2}'
    results.store([result("a", success)])
    results.store([result("a", failure)])
    assert results.fetch(["a"]) == [success]
    results.store([result("b", failure)])
    results.store([result("b", success)])
    assert results.fetch(["b"]) == [success]


def test_given_a_requeued_call_when_its_bytes_are_unknown_to_this_connection_then_they_are_fetched(world: World) -> None:
    """The supervisor may settle on another connection than the one that reserved."""
    broker, other = world.broker(), world.broker()
    lease = world.lease(broker)
    broker.publish(batch(QUEUE, "a"))
    (delivery,) = broker.turn(lease, reserve=1, queues=[QUEUE]).reserved
    broker.turn(lease, begin=[Begin(delivery.tag, False)])
    other.turn(lease, settle=[requeue(delivery)])
    (item,) = world.list(QUEUE)
    assert (item["headers"]["id"], item["headers"]["redelivered"]) == ("a", True)
    assert item["headers"][envelope.DELIVERIES_HEADER] == 1


def test_given_thousands_in_one_turn_when_settled_and_begun_then_lua_does_not_run_out_of_stack(world: World) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    count = 9_001
    sent = batch(QUEUE, map(str, range(count)))
    broker.publish(sent)
    deliveries = broker.turn(lease, reserve=count, queues=[QUEUE]).reserved
    assert [one.message.headers["id"] for one in deliveries if one.message] == [str(number) for number in range(count)]
    assert len(broker.turn(lease, begin=[Begin(one.tag, True) for one in deliveries]).begun) == count
    assert broker.unbegin(lease, [one.tag for one in deliveries]) == count
    again = broker.turn(lease, reserve=count, queues=[QUEUE]).reserved
    assert [one.raw for one in again] == [one.raw for one in deliveries]
    assert broker.turn(lease, settle=[settlement(one) for one in again]).refused == []
    assert world.unacked() == {}


# -- foreign entries -----------------------------------------------------------------------------------------------------------


def leave_as_celery(world: World, task_id: str, *, age_s: float, queue: str = QUEUE, exchange: str = "") -> str:
    """As a Celery worker that took a message and died."""
    sent = message(task_id, queue=queue, exchange=exchange, priority=3)
    tag = sent.properties["delivery_tag"]
    world.command("HSET", "unacked", tag, b'[%b, "%b", "%b"]' % (envelope.encode(sent), exchange.encode(), queue.encode()))
    world.command("ZADD", "unacked_index", time.time() - age_s, tag)
    return str(tag)


def test_given_what_dead_celery_workers_left_when_restored_then_only_the_old_comes_back_marked(world: World) -> None:
    broker = world.broker()
    leave_as_celery(world, "old", age_s=100)
    young = leave_as_celery(world, "young", age_s=10)
    assert broker.restore_foreign(60.0) == 1
    (item,) = world.list(f"{QUEUE}\x06\x163")
    assert item["headers"]["id"] == "old"
    assert item["headers"]["redelivered"]
    assert item["properties"]["delivery_info"]["redelivered"]
    assert list(world.unacked()) == [young]
    assert world.command("EXISTS", "unacked_mutex") == 0


def test_given_an_entry_a_little_older_than_the_timeout_when_restored_then_parts_of_a_second_count(world: World) -> None:
    leave_as_celery(world, "old", age_s=0.06)
    assert world.broker().restore_foreign(0.05) == 1


def test_given_our_own_deliveries_when_restoring_then_they_stay_however_old_and_whoever_has_them(world: World) -> None:
    broker = world.broker()
    lease, dead_lease = world.lease(broker), world.lease(broker)
    broker.publish(batch(QUEUE, "ab"))
    (first,) = broker.turn(lease, reserve=1, queues=[QUEUE]).reserved
    (second,) = broker.turn(dead_lease, reserve=1, queues=[QUEUE]).reserved
    (record,) = [record for record in broker.leases() if record.owner == dead_lease.owner]
    broker.take_over(record, lease, limit=10)
    for tag in (first.tag, second.tag):
        world.command("ZADD", "unacked_index", 1, tag)
    assert broker.restore_foreign(60.0) == 0
    assert set(world.unacked()) == {first.tag, second.tag}


def test_given_an_entry_of_an_owner_that_is_gone_when_restoring_then_it_comes_back(world: World) -> None:
    """Somebody deleted our keys but not Kombu's."""
    broker = world.broker()
    lease = world.lease(broker)
    broker.publish(batch(QUEUE, "a"))
    (delivery,) = broker.turn(lease, reserve=1, queues=[QUEUE]).reserved
    world.command("DEL", f"_sedano.held.{lease.owner}", f"_sedano.lease.{lease.owner}", "_sedano.owners")
    world.command("ZADD", "unacked_index", 1, delivery.tag)
    assert broker.restore_foreign(60.0) == 1
    assert world.command("LLEN", QUEUE) == 1


def test_given_an_exchange_when_restoring_then_its_binding_says_where_to(world: World) -> None:
    broker = world.broker()
    broker.declare([bound("images", "media", "topic", "media.#")])
    leave_as_celery(world, "a", age_s=100, queue="media.x", exchange="media")
    leave_as_celery(world, "b", age_s=100, queue="lost", exchange="gone")
    assert broker.restore_foreign(60.0) == 2
    assert world.command("LLEN", "images\x06\x163") == 1
    assert world.command("LLEN", "lost\x06\x163") == 1


def test_given_an_entry_that_is_no_json_when_restoring_then_it_becomes_a_dead_letter_and_the_rest_comes_back(
    world: World,
) -> None:
    broker = world.broker()
    world.command("HSET", "unacked", "bad", b"[garbage")
    world.command("ZADD", "unacked_index", 5, "bad")
    world.command("ZADD", "unacked_index", 6, "without-value")
    leave_as_celery(world, "good", age_s=100)
    assert broker.restore_foreign(60.0) == 1
    assert world.unacked() == {}
    assert world.command("ZCARD", "unacked_index") == 0
    (letter,) = broker.dead_letters()
    assert (letter.raw, letter.note.cause) == (b"[garbage", "unreadable")


def test_given_another_restorer_when_restoring_then_it_is_left_alone(world: World) -> None:
    leave_as_celery(world, "old", age_s=100)
    world.command("SET", "unacked_mutex", "somebody")
    assert world.broker().restore_foreign(60.0) == 0
    assert world.command("GET", "unacked_mutex") == b"somebody"
    assert len(world.unacked()) == 1
