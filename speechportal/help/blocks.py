"""Generated blocks of the help pages that depend on the platform only."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from speechportal.env import Variable
from speechportal.settings import env

SECTIONS: dict[str, str | Promise] = {
    "installation": gettext_lazy("Installation"),
    "secrets": gettext_lazy("Secrets"),
    "web": gettext_lazy("Web server"),
    "sign_in": gettext_lazy("Sign-in"),
    "single_sign_on": gettext_lazy("Sign-in with company accounts"),
    "mail": gettext_lazy("Mail"),
    "batches": gettext_lazy("Batches and limits"),
    "storage": gettext_lazy("Storage"),
    "recognition": gettext_lazy("Recognition"),
    "queue": gettext_lazy("Queue"),
    "outbound": gettext_lazy("Outbound requests"),
    "webhooks": gettext_lazy("Webhooks"),
    "api": gettext_lazy("API"),
    "observability": gettext_lazy("Logs and metrics"),
}


def settings_reference() -> str:
    """Every setting by section: variable, default, and type with its sentence."""
    parts = []
    for section, title in SECTIONS.items():
        rows = [_row(setting) for setting in env.settings.values() if setting.section == section]
        if rows:
            head = f"| {_('Variable')} | {_('Default')} | {_('Meaning')} |\n| --- | --- | --- |"
            parts.append("\n".join([f"### {title} {{#{section}}}", "", head, *rows]))
    return "\n\n".join(parts)


def _row(setting: Variable) -> str:
    default = str(setting.shown_default) if setting.shown_default != "" else "–"
    if isinstance(setting.shown_default, str) and setting.shown_default:
        default = f"`{default}`"
    required = f" **{_('Required in production.')}**" if setting.required else ""
    return f"| `{setting.variable}` | {default} | {setting.description} *{_kind(setting)}.*{required} |"


def _kind(setting: Variable) -> str:
    kinds = {
        "text": _("Text"),
        "flag": _("`true` or `false`"),
        "integer": _("Whole number"),
        "words": _("Comma-separated list"),
        "networks": _("Comma-separated list of networks"),
        "ports": _("Comma-separated list of ports, or `any`"),
        "path": _("Path"),
        "choice": _("One of %s") % ", ".join(f"`{choice}`" for choice in setting.choices),
    }
    kind = kinds[setting.kind]
    if setting.minimum is not None:
        kind = _("Whole number, at least %d") % setting.minimum
    return kind
