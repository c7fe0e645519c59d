"""URLs of the portal."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("batches.web.urls")),
    path("", include("speechportal.accounts.urls")),
    path("connections/", include("speechportal.storage.urls")),
    path("domains/", include("domains.urls")),
    path("help/", include("speechportal.help.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    path("api/", include("speechportal.api.urls")),
    path("external/v1/", include("batches.compat.clova.urls")),
    path("admin/", admin.site.urls),
]
