from django.urls import path

from batches.compat.openai import views

app_name = "openai"
urlpatterns = [
    path("audio/transcriptions", views.Transcriptions.as_view(), name="transcriptions"),
    path("models", views.Models.as_view(), name="models"),
    path("models/<path:model>", views.Model.as_view(), name="model"),
]
