"""Rendering of help pages to HTML: anchors, tables that fit a phone, highlighted code, internal links.

Raw HTML in the Markdown is escaped, so that a page cannot bring a script or a style. Code is highlighted by
classes, since the content security policy allows no inline style.

Anchors are made from the English headings, as code hosts make them, and are the same in every language: the
n-th heading of a translated page has the anchor of the n-th English heading.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from django.urls import reverse
from django.utils.html import escape
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from speechportal.help import pages
from speechportal.help.pages import Page

_EXPLICIT_ANCHOR = re.compile(r"\s*\{#(?P<anchor>[\w.-]+)\}\s*$")
_FORMATTER: HtmlFormatter[str] = HtmlFormatter(nowrap=True, classprefix="hl-")


@dataclass(frozen=True)
class Section:
    """Heading with the text up to the next heading; the unit that the search finds."""

    anchor: str
    level: int
    title: str
    text: str


@dataclass(frozen=True)
class Document:
    title: str
    html: str  # Without the title.
    sections: Sequence[Section]  # The first is the page itself.
    anchors: frozenset[str]

    @property
    def contents(self) -> list[Section]:
        """Table of contents: headings of the second and third level."""
        return [section for section in self.sections if section.level in {2, 3}]


def render(page: Page) -> Document:
    return _render(page)


@cache
def _render(page: Page) -> Document:
    tokens = _parser().parse(page.markdown)
    anchors = _anchors(page, tokens)
    _set_anchors(tokens, anchors)
    row_anchors = _mark_tables(tokens)
    _rewrite_links(tokens)
    sections = _sections(tokens, page.title)
    body = tokens[3:] if tokens and tokens[0].type == "heading_open" else tokens
    html = _parser().renderer.render(body, _parser().options, {})
    return Document(page.title, html, sections, frozenset([*anchors, *row_anchors]))


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "highlight": _highlighted}).enable("table")
    parser.add_render_rule(
        "table_open", lambda _renderer, tokens, index, _options, _env: _table(tokens[index])
    )
    parser.add_render_rule("fence", _fence)
    parser.add_render_rule("table_close", lambda *_arguments: "</table></div>\n")
    return parser


def _fence(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Render a code block that can be scrolled by keyboard."""
    return str(RendererHTML.fence(renderer, tokens, index, options, env)).replace(
        "<pre>", '<pre tabindex="0">', 1
    )


def _highlighted(code: str, language: str, _attributes: str) -> str:
    """Highlight the content of a code block; the formatter escapes HTML."""
    try:
        lexer = get_lexer_by_name(language or "text", stripnl=False)
    except ClassNotFound:
        return escape(code)
    return str(highlight(code, lexer, _FORMATTER))


def _table(token: Token) -> str:
    return f'<div class="table-box" tabindex="0"><table class="{token.attrGet("class") or ""}">\n'


def slugify(text: str) -> str:
    """Anchor of a heading as code hosts make it: ``Your first batch`` is ``your-first-batch``."""
    return re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")


def _heading_indexes(tokens: Sequence[Token]) -> list[int]:
    return [index for index, token in enumerate(tokens) if token.type == "heading_open"]


def _anchors(page: Page, tokens: Sequence[Token]) -> list[str]:
    """Anchors of the page's headings, in order."""
    own = [_anchor(tokens[index + 1]) for index in _heading_indexes(tokens)]
    if page.language == "en":
        return _unique(own)
    english = _render(pages.page(page.slug, "en")).sections
    anchors = [section.anchor for section in english]
    return anchors if len(anchors) == len(own) else _unique(own)


def _anchor(inline: Token) -> str:
    explicit = _EXPLICIT_ANCHOR.search(inline.content)
    return explicit["anchor"] if explicit else slugify(_text(inline))


def _unique(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        number = found.count(name)
        found.append(f"{name}-{number}" if number else name)
    return found


def _set_anchors(tokens: list[Token], anchors: Sequence[str]) -> None:
    for index, anchor in zip(_heading_indexes(tokens), anchors, strict=True):
        tokens[index].attrSet("id", anchor)
        inline = tokens[index + 1]
        if inline.children and (last := inline.children[-1]).type == "text":
            last.content = _EXPLICIT_ANCHOR.sub("", last.content)
        inline.content = _EXPLICIT_ANCHOR.sub("", inline.content)
        link = Token("link_open", "a", 1, attrs={"class": "anchor", "href": f"#{anchor}"})
        inline.children = [link, *(inline.children or []), Token("link_close", "a", -1)]


def _mark_tables(tokens: list[Token]) -> list[str]:
    """Mark reference tables (rows begin with code): each row gets an anchor, and is stacked on a phone."""
    anchors: list[str] = []
    table = row = Token("", "", 0)
    head: list[str] = []
    column = 0
    for index, token in enumerate(tokens):
        if token.type == "table_open":
            table, head = token, []
        elif token.type == "th_open":
            head.append(_text(tokens[index + 1]))
        elif token.type == "tr_open":
            row, column = token, 0
        elif token.type == "td_open":
            code = _leading_code(tokens[index + 1]) if column == 0 else ""
            if code:
                table.attrSet("class", "reference")
            if code and code not in anchors:
                row.attrSet("id", code)
                anchors.append(code)
            if column and len(head) > 2:
                token.attrSet("data-label", head[column])
            column += 1
    return anchors


def _leading_code(inline: Token) -> str:
    """Code that a cell begins with, as an anchor; empty if it begins with something else."""
    first = (inline.children or [Token("", "", 0)])[0]
    return re.sub(r"[^\w.-]", "", first.content) if first.type == "code_inline" else ""


def _rewrite_links(tokens: Sequence[Token]) -> None:
    """Rewrite links to other pages' files to links to the pages."""
    for token in tokens:
        for child in token.children or []:
            if child.type != "link_open":
                continue
            target = str(child.attrGet("href") or "")
            child.attrSet("href", link_target(target))
            if target.startswith("https://"):
                child.attrSet("rel", "noopener")


def link_target(target: str) -> str:
    """Convert ``webhooks.md#retries`` to ``/help/webhooks/#retries``; other targets stay as they are."""
    path, _, anchor = target.partition("#")
    if not path.endswith(".md") or "/" in path:
        return target
    slug = PurePosixPath(path).stem
    address = reverse("help:index") if slug == pages.INDEX else reverse("help:page", args=[slug])
    return f"{address}#{anchor}" if anchor else address


def _sections(tokens: Sequence[Token], title: str) -> list[Section]:
    sections: list[Section] = []
    anchor, level, heading = "", 1, title
    words: list[str] = []

    def close() -> None:
        sections.append(Section(anchor, level, heading, " ".join(words)))

    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            if index:
                close()
            anchor, level = str(token.attrGet("id") or ""), int(token.tag[1])
            heading, words = _text(tokens[index + 1]), []
        elif token.type == "inline" and tokens[index - 1].type != "heading_open":
            words.append(_text(token))
            if tokens[index - 1].type in {"td_open", "th_open"} and tokens[index + 2].type != "tr_close":
                words.append("·")
        elif token.type in {"fence", "code_block"}:
            words.append(token.content)
    close()
    return sections


def _text(inline: Token) -> str:
    """Text of a line without its markup."""
    parts = []
    for child in inline.children or []:
        if child.type in {"text", "code_inline"}:
            parts.append(child.content)
        elif child.type in {"softbreak", "hardbreak"}:
            parts.append(" ")
    return _EXPLICIT_ANCHOR.sub("", "".join(parts)).strip()
