"""Django admin for support staff."""

from django.contrib import admin
from django.contrib.admin.apps import AdminConfig
from django.utils.translation import gettext_lazy as _


class PortalAdminSite(admin.AdminSite):
    site_title = _("Speech Portal support")
    site_header = _("Speech Portal support")
    index_title = _("Accounts, batches and tasks")


class PortalAdminConfig(AdminConfig):
    default_site = "speechportal.admin_site.PortalAdminSite"
