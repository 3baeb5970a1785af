"""Every way to call: now, later, in a chain, in a group, in a chord; with retries, and with somebody to hear of a failure."""

from datetime import datetime, timedelta

from celery import chain, chord, group

from tasks.desk import stamp
from tasks.letters import complain, lose, ring, send_letter, telegraph
from tasks.parcels import load, price, weigh, wrap

letter = send_letter.apply_async(args=["Ada", "the engine runs"])
print(f"letter: {letter.get(timeout=60)}, {letter.status}")
print(f"stamp: {stamp.delay(7).get(timeout=60)}")

later = send_letter.apply_async(args=["Bo", "in a moment"], countdown=0.5)
at = send_letter.apply_async(args=["Cy", "by the clock"], eta=datetime.now() + timedelta(seconds=0.5))  # noqa: DTZ005 - local time
print(f"later: {later.get(timeout=60)['to']}, {at.get(timeout=60)['to']}")

print(f"ring: {ring.delay(12).get(timeout=60)}")
print(f"telegraph: {telegraph.delay('all is well').get(timeout=60)}")

print(f"chain: {chain(weigh.s(480), wrap.s(), price.s())().get(timeout=60)}")
print(f"group: {group(weigh.s(1), weigh.s(2), weigh.s(3))().get(timeout=60)}")
print(f"chord: {chord(group(weigh.s(1), weigh.s(2), weigh.s(3)), load.s())().get(timeout=60)}")

lost = lose.apply_async(args=["the blue box"], link_error=complain.s())
print(f"lost: {lost.get(timeout=60, propagate=False)!r}, {lost.status}")
