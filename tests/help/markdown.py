"""Markdown helpers for the tests of the help: links, code blocks and anchors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from speechportal.help import pages, rendering

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    where: str
    language: str
    code: str


def help_pages() -> list[tuple[str, str]]:
    return [(language, slug) for language in pages.LANGUAGES for slug in [pages.INDEX, *pages.slugs()]]


def help_sources() -> list[Path]:
    return sorted((ROOT / "templates" / "help").rglob("*.md"))


def other_documents() -> list[Path]:
    return [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]


def blocks(*paths: Path) -> list[Block]:
    return [
        Block(str(path.relative_to(ROOT)), match["language"], match["code"])
        for path in paths
        for match in FENCE.finditer(path.read_text(encoding="utf-8"))
    ]


def links(text: str) -> list[str]:
    """Targets of a Markdown text's links, without those inside code."""
    without_code = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
    return [match["target"] for match in LINK.finditer(without_code)]


def anchors(path: Path) -> set[str]:
    """Anchors of a document outside the help, as code hosts generate them."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    return {
        rendering.slugify(heading.replace("`", ""))
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
