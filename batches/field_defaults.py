"""Defaults of fields that migrations refer to. Functions here are never renamed or removed."""

from __future__ import annotations


def formats() -> list[str]:
    return ["json"]
