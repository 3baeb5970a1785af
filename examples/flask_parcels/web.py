import sys
from typing import Any

from celery.result import AsyncResult
from flask import Flask, request

from tasks import weigh

web = Flask(__name__)


@web.post("/parcels")
def send() -> str:
    grams = [int(word) for word in request.args["grams"].split(",")]
    return f"call {weigh.delay(grams).id}\n"


@web.get("/calls/<call_id>")
def show(call_id: str) -> dict[str, Any]:
    """Each request has a thread of its own, and the result finds the app in it."""
    call = AsyncResult(call_id)
    return {"state": call.state, "grams": call.result if call.successful() else None}


if __name__ == "__main__":
    web.run(port=int(sys.argv[1]))
