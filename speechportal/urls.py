"""Every address of the portal."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("batches.home_urls")),
    path("", include("speechportal.accounts.urls")),
    path("connections/", include("speechportal.storage.urls")),
    path("domains/", include("domains.urls")),
    path("batches/", include("batches.urls")),
    path("usage/", include("batches.usage_urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    path("api/", include("speechportal.api.urls")),
    path("external/v1/", include("batches.clova_urls")),
    path("admin/", admin.site.urls),
]
