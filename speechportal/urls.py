"""URLs of the portal."""

from django.contrib import admin
from django.urls import include, path

from speechportal.accounts.addresses import account_patterns
from speechportal.accounts.urls import account_pages
from speechportal.storage import local_file_views

urlpatterns = [
    path("connections/file/<str:token>", local_file_views.file, name="local_file"),
    *account_patterns(
        path("", include("batches.web.urls")),
        path("", include(account_pages)),
        path("connections/", include("speechportal.storage.urls")),
        path("domains/", include("domains.urls")),
    ),
    path("", include("speechportal.accounts.urls")),
    path("help/", include("speechportal.help.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    path("api/", include("speechportal.api.urls")),
    path("external/v1/", include("batches.compat.clova.urls")),
    path("recog/v1/", include("batches.compat.clova.short_urls")),
    path("v1/", include("batches.compat.openai.urls")),
    path("openai/<str:batch>/v1/", include("batches.compat.openai.urls", namespace="openai_batch")),
    path("notify/", include("batches.web.notification_urls")),
    path("admin/", admin.site.urls),
]
