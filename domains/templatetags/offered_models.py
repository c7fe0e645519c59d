"""Template filter for names of models."""

from __future__ import annotations

from django import template

from domains import offered_models

register = template.Library()


@register.filter
def model_title(name: str) -> str:
    """Name of a model for people: the last part of a path."""
    return offered_models.title(name)
