from typing import Any

from fastapi import APIRouter

from service.tasks.house import announce
from service.tasks.texts import count_words, longest_word

router = APIRouter(prefix="/api/v1/texts")


@router.post("/count")
async def count(text: str) -> dict[str, str]:
    call = count_words.apply_async(args=[text])
    return {"task_id": call.id, "status": call.status}


@router.post("/longest")
async def longest(text: str = "") -> dict[str, str]:
    call = longest_word.apply_async(args=[text])
    return {"task_id": call.id, "status": call.status}


@router.post("/announce")
async def say(what: str) -> dict[str, str]:
    return {"task_id": announce.delay(what).id}


@router.get("/result/{task_id}")
async def result(task_id: str) -> dict[str, Any]:
    call = count_words.AsyncResult(task_id)
    if call.state == "PENDING":
        return {"status": call.state}
    if call.state == "FAILURE":
        return {"status": call.state, "error": str(call.info)}
    return {"status": call.state, "result": call.result}
