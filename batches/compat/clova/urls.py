from django.urls import path

from batches.compat.clova import views

app_name = "clova"
HERE = "<str:code>/<str:key>/recognizer"
urlpatterns = [
    path(f"{HERE}/upload", views.Upload.as_view(), name="upload"),
    path(f"{HERE}/url", views.FromUrl.as_view(), name="url"),
    path(f"{HERE}/object-storage", views.FromObjectStorage.as_view(), name="object_storage"),
    path(f"{HERE}/<str:token>", views.Result.as_view(), name="result"),
]
