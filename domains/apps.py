from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DomainsConfig(AppConfig):
    name = "domains"
    verbose_name = _("Domains")

    def ready(self) -> None:
        from domains.models import Domain
        from speechportal.accounts.audit.trail import follow

        follow(Domain, ignore=["replacement_rows", "declined_proposals"])
