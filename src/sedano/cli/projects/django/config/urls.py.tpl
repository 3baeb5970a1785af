from django.urls import path
from work import views

urlpatterns = [
    path("additions", views.start),
    path("calls/<str:call_id>", views.show),
]
