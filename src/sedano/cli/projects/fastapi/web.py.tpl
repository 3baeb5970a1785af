"""The web application: python -m uvicorn web:web"""

from fastapi import FastAPI
from pydantic import BaseModel

from tasks import add, app

web = FastAPI()


class Addition(BaseModel):
    x: int
    y: int


@web.post("/additions", status_code=202)
async def start(addition: Addition) -> dict[str, str]:
    """Sends the call and does not wait for it."""
    result = await add.adelay(addition.x, addition.y)
    return {"id": result.id}


@web.get("/calls/{call_id}")
def show(call_id: str) -> dict[str, object]:
    """What has become of a call."""
    result = app.AsyncResult(call_id)
    return {"state": result.state, "result": result.result if result.successful() else None}
