from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApiConfig(AppConfig):
    name = "speechportal.api"
    label = "api"
    verbose_name = _("REST API")

    def ready(self) -> None:
        from speechportal.api import schema  # noqa: F401 - registers the OpenAPI extensions
