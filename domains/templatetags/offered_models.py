"""Template filter for names of models."""

from __future__ import annotations

from django import template

from domains import offered_models

register = template.Library()


@register.filter
def model_title(name: str) -> str:
    """The name as people read it: of a path, its last part."""
    return offered_models.title(name)
