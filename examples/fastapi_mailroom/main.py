from typing import Any

from celery.result import AsyncResult
from fastapi import FastAPI

from tasks.letters import carry_far, send_letter

web = FastAPI(title="Mail room")


@web.post("/letters")
async def send(to: str, text: str) -> dict[str, str]:
    return {"task_id": send_letter.delay(to, text).id}


@web.post("/journeys")
async def travel(seconds: float) -> dict[str, str]:
    return {"task_id": carry_far.delay(seconds).id}


@web.get("/calls/{task_id}")
def show(task_id: str) -> dict[str, Any]:
    """Not `async`: it runs in a thread of the server's, where no app was made; the result finds it all the same."""
    call = AsyncResult(task_id)
    result = call.result if call.ready() else None
    return {"status": call.status, "result": str(result) if isinstance(result, Exception) else result}


@web.delete("/calls/{task_id}")
async def cancel(task_id: str) -> dict[str, str]:
    AsyncResult(task_id).revoke(terminate=True)
    return {"status": "cancelled"}
