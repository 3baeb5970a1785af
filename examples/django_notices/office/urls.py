from django.urls import path

from notices import views

urlpatterns = [
    path("notices", views.notices),
    path("calls/<uuid:call_id>", views.call),
]
