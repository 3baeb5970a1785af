import json

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from sedano import AsyncResult
from work.tasks import add


@csrf_exempt
@require_POST
def start(request: HttpRequest) -> JsonResponse:
    """Sends the call and does not wait for it."""
    addition = json.loads(request.body)
    result = add.delay(int(addition["x"]), int(addition["y"]))
    return JsonResponse({"id": result.id}, status=202)


@require_GET
def show(request: HttpRequest, call_id: str) -> JsonResponse:
    """What has become of a call."""
    result = AsyncResult(call_id)
    return JsonResponse({"state": result.state, "result": result.result if result.successful() else None})
