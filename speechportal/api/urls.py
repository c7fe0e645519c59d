"""URLs below ``/api/``. The routes of each app are in its own ``api_urls`` module."""

from django.urls import include, path, re_path

from speechportal.api import docs, views

app_name = "api"
urlpatterns = [
    path("v1/openapi.json", docs.openapi, name="openapi"),
    path("v1/docs", docs.swagger, name="docs"),
    path("v1/redoc", docs.redoc, name="redoc"),
    path("v1/redoc.js", docs.redoc_script, name="redoc_script"),
    path("v1/", include("speechportal.accounts.api_urls")),
    path("v1/", include("speechportal.storage.api_urls")),
    path("v1/", include("domains.api_urls")),
    path("v1/", include("batches.api.urls")),
    re_path("", views.not_found),
]
