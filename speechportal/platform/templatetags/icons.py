"""Icons: SVG drawings by name, on a grid of 16 by 16."""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

ICONS = {
    "brand": '<path d="M2 6.5v3M5 4v8M8 1.5v13M11 4.5v7M14 6.5v3" stroke-width="1.7"/>',
    "home": '<path d="M2.5 7 8 2.2 13.5 7v6.5h-4v-4h-3v4h-4z"/>',
    "batches": '<path d="M2 4.5 8 1.8l6 2.7-6 2.7zM2 8l6 2.7L14 8M2 11.3 8 14l6-2.7"/>',
    "domains": '<path d="M2.5 2.5h5l6 6-5 5-6-6zM5.3 5.3h.01"/>',
    "connections": (
        '<ellipse cx="8" cy="3.6" rx="5.5" ry="2"/>'
        '<path d="M2.5 3.6v8.8c0 1.1 2.5 2 5.5 2s5.5-.9 5.5-2V3.6M2.5 8c0 1.1 2.5 2 5.5 2s5.5-.9 5.5-2"/>'
    ),
    "transcripts": '<path d="M3.5 1.8h6l3 3v9.4h-9zM6 7h4M6 9.5h4M6 12h2.5"/>',
    "usage": '<path d="M2 14h12M4 11.5V8M8 11.5v-9M12 11.5V5.5"/>',
    "account": '<circle cx="8" cy="5" r="2.7"/><path d="M2.8 14c.5-3 2.6-4.4 5.2-4.4s4.7 1.4 5.2 4.4"/>',
    "help": (
        '<circle cx="8" cy="8" r="6"/>'
        '<path d="M6.2 6.3c0-1.1.8-1.8 1.8-1.8s1.8.7 1.8 1.7c0 1.4-1.8 1.5-1.8 2.8M8 11.4h.01"/>'
    ),
    "undo": '<path d="M5.5 2.5 2.5 5.5l3 3M2.5 5.5h6.8a4 4 0 0 1 0 8H6"/>',
    "redo": '<path d="m10.5 2.5 3 3-3 3M13.5 5.5H6.7a4 4 0 0 0 0 8H10"/>',
    "play": '<path d="M4.5 2.8v10.4L13 8z"/>',
    "pause": '<path d="M5 3v10M11 3v10"/>',
    "copy": '<path d="M5.5 5.5h8v8h-8zM3.5 10.5h-1v-8h8v1"/>',
    "link": (
        '<path d="M6.5 9.5a3 3 0 0 0 4.2 0l2.2-2.2a3 3 0 0 0-4.2-4.2l-1 1'
        'M9.5 6.5a3 3 0 0 0-4.2 0L3.1 8.7a3 3 0 0 0 4.2 4.2l1-1"/>'
    ),
    "more": '<path d="M3 8h.01M8 8h.01M13 8h.01" stroke-width="2.2"/>',
}


@register.simple_tag
def icon(name: str) -> SafeString:
    """Render an icon, hidden from screen readers: the text beside it has the meaning.

    Raises ``KeyError`` for a name that is not in :data:`ICONS`.
    """
    return format_html(
        '<svg class="icon" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.4" '
        'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{}</svg>',
        mark_safe(ICONS[name]),  # noqa: S308 # nosec B308 B703 - written above
    )
