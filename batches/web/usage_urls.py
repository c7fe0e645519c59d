from django.urls import path

from batches.web import usage

app_name = "usage"
urlpatterns = [
    path("", usage.usage_page, name="list"),
    path("<str:month>.csv", usage.usage_export, name="export"),
]
