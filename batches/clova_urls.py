from django.urls import path

from batches.api import clova

app_name = "clova"
HERE = "<str:code>/<str:key>/recognizer"
urlpatterns = [
    path(f"{HERE}/upload", clova.Upload.as_view(), name="upload"),
    path(f"{HERE}/url", clova.FromUrl.as_view(), name="url"),
    path(f"{HERE}/object-storage", clova.FromObjectStorage.as_view(), name="object_storage"),
    path(f"{HERE}/<str:token>", clova.Result.as_view(), name="result"),
]
