"""Admin actions: each asks for a reason and calls the service that the portal's pages call.

An action works on one row (a button on its page) or on several (chosen in a list). Its page shows the rows
and asks for the reason and any other input of the action.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.audit.actor import with_reason

logger = logging.getLogger(__name__)


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=_("Reason"),
        min_length=3,
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
        help_text=_("Kept in the audit trail; members of the account can read it."),
    )


class Action(ABC):
    """Admin action. Subclasses define ``perform`` and the ``permission`` it requires.

    ``perform`` raises ``ValidationError`` if the rules do not allow it; its sentence is shown.
    """

    name: ClassVar[str]
    label: ClassVar[str | Promise]
    description: ClassVar[str | Promise] = ""
    permission: ClassVar[str]
    form_class: ClassVar[type[forms.Form]] = ReasonForm
    dangerous: ClassVar[bool] = False
    # Whether it can be applied to several rows, selected in the list.
    for_many: ClassVar[bool] = True

    def applies_to(self, row: Any) -> bool:
        """Whether the button is shown for this row."""
        return True

    def initial(self, row: Any) -> dict[str, Any]:
        return {}

    def form(self, rows: Sequence[Any], data: Any = None) -> forms.Form:
        """Form of the action for these rows, bound to ``data`` if given."""
        return self.form_class(data, initial=self.initial(rows[0]) if len(rows) == 1 else None)

    @abstractmethod
    def perform(self, row: Any, answers: dict[str, Any]) -> str:
        """Perform the action on a row; returns the sentence that staff reads."""

    def respond(self, row: Any, answers: dict[str, Any]) -> HttpResponseBase | None:
        """Response of an action on one row that results in a file or a page; else ``None``."""
        return None

    def allowed_for(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(self.permission))


def run(action: Action, request: HttpRequest, rows: Sequence[models.Model], answers: dict[str, Any]) -> int:
    """Perform the action on each row, and add messages with the outcomes. Returns how many succeeded."""
    done = 0
    for row in rows:
        try:
            with with_reason(str(answers["reason"])):
                sentence = action.perform(row, answers)
        except ValidationError as error:
            messages.error(request, format_lazy("{row}: {causes}", row=row, causes=" ".join(error.messages)))
            continue
        done += 1
        messages.success(request, f"{row}: {sentence}" if sentence else gettext("Done: %s.") % row)
    return done
