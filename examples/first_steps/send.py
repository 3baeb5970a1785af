"""Calls both tasks and waits for what they return."""

from tasks import greet, multiply

product = multiply.delay(6, 7)
print(f"the worker has this as {product.id}")
print(f"6 * 7 = {product.get(timeout=60)}")
print(f"ready: {product.ready()}")

greeting = greet.delay()
print(f"greet: {greeting.get(timeout=60)}")
