"""Calls a task and waits for its result: python send.py"""

from tasks import add

if __name__ == "__main__":
    result = add.delay(2, 3)
    print(f"call {result.id}")
    print(f"2 + 3 = {result.get(timeout=60)}")
