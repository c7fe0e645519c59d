"""Template tags for links from the portal's pages to the help."""

from __future__ import annotations

from django import template
from django.forms.boundfield import BoundField
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

register = template.Library()


@register.simple_tag
def help_link(topic: str, label: str = "") -> SafeString:
    """Link ``?`` to a topic of the help: ``page`` or ``page#anchor``.

    ``label`` names the topic for screen readers.
    """
    page, _hash, anchor = topic.partition("#")
    address = reverse("help:page", args=[page]) + (f"#{anchor}" if anchor else "")
    name = _("Help: %s") % label if label else _("Help")
    return format_html('<a class="help-link" href="{}" title="{}" aria-label="{}">?</a>', address, name, name)


@register.simple_tag
def field_help(field: BoundField) -> SafeString | str:
    """Help link of a form field, if its form has a topic for it (``help_topics``)."""
    topic = getattr(field.form, "help_topics", {}).get(field.name)
    return help_link(topic, str(field.label)) if topic else ""


@register.simple_tag
def failure_help(code: str) -> SafeString | str:
    """Help link of a failure reason."""
    return help_link(f"troubleshooting#{code}", _("what to do about it")) if code else ""
