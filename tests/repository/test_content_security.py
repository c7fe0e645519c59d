"""Pages load only what the portal serves itself, and nothing inline."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.urls import reverse

from tests.clients import Client

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", re.IGNORECASE)


@pytest.mark.django_db
def test_every_page_has_the_policy(client: Client) -> None:
    policy = client.get(reverse("login")).headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "unsafe" not in policy


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["api:docs", "api:redoc"])
def test_the_api_s_readers_have_one_without_anything_unsafe(client: Client, name: str) -> None:
    policies = {client.get(reverse(name)).headers["Content-Security-Policy"] for _ in range(2)}
    assert len(policies) == 2  # The nonce is another one each time.
    assert not any("unsafe" in policy for policy in policies)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_template_has_inline_code(path: Path) -> None:
    assert INLINE.findall(path.read_text(encoding="utf-8")) == []
