import uuid

from celery.result import AsyncResult
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from notices.models import Notice
from notices.tasks import pin


@csrf_exempt
def notices(request: HttpRequest) -> JsonResponse:
    if request.method == "POST":
        return JsonResponse({"id": pin.delay(request.GET["text"]).id}, status=202)
    return JsonResponse({"notices": list(Notice.objects.values_list("text", flat=True))})


def call(request: HttpRequest, call_id: uuid.UUID) -> JsonResponse:
    """Each request has a thread of its own, and the result finds the app in it."""
    del request
    result = AsyncResult(str(call_id))
    return JsonResponse({"state": result.state, "notices": result.result if result.successful() else None})
