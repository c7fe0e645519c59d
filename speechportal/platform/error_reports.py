"""Filter of Django's error reports that hides secrets, whatever the settings."""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter


class ReportFilter(SafeExceptionReporterFilter):
    """Django's filter, also active in debug mode; hides form fields by name."""

    hidden_settings = re.compile(
        r"API|AUTH|TOKEN|KEY|SECRET|PASS|PEPPER|SIGNATURE|HTTP_COOKIE|CODE|DATABASE_URL", flags=re.IGNORECASE
    )

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        given = super().get_post_parameters(request)
        hidden = self.cleansed_substitute
        return {name: hidden if self.hidden_settings.search(name) else value for name, value in given.items()}
