"""Pages of the help, for signed-in members and for visitors alike."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import get_language, override
from django.views.decorators.http import require_safe

from speechportal.help import pages, rendering, search


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    return _answer(request, pages.INDEX)


@require_safe
def page(request: HttpRequest, slug: str) -> HttpResponse:
    return _answer(request, slug)


@require_safe
def results(request: HttpRequest) -> HttpResponse:
    """Search results in the reader's language, or in the others if that finds nothing."""
    query = request.GET.get("q", "").strip()[:200]
    language = _language()
    found = search.search(query, language)
    found_in = language
    if query and not found:
        for other in pages.LANGUAGES:
            if other != language and (found := search.search(query, other)):
                found_in = other
                break
    context = {"query": query, "results": found, "found_in": found_in, "is_other": found_in != language}
    return render(request, "help/search.html", {**_navigation("", language), **context})


@require_safe
def raw(_request: HttpRequest, language: str, slug: str) -> HttpResponse:
    """Markdown of a page, with its generated blocks."""
    try:
        markdown = pages.page(slug, language).markdown
    except KeyError as error:
        raise Http404 from error
    return HttpResponse(markdown, content_type="text/markdown; charset=utf-8")


@require_safe
def llms(_request: HttpRequest) -> HttpResponse:
    """``llms.txt``: the English pages with their summaries and the addresses of their Markdown."""
    index_page = pages.page(pages.INDEX, "en")
    lines = ["# Speech Portal", "", f"> {index_page.summary}"]
    with override("en"):
        for group in pages.GROUPS:
            lines += ["", f"## {group.title}", ""]
            for slug in pages.expand(group):
                each = pages.page(slug, "en")
                lines.append(f"- [{each.title}]({reverse('help:raw', args=['en', slug])}): {each.summary}")
    return HttpResponse("\n".join([*lines, ""]), content_type="text/plain; charset=utf-8")


def _answer(request: HttpRequest, slug: str) -> HttpResponse:
    language = _language()
    try:
        document = rendering.render(pages.page(slug, language))
    except KeyError as error:
        raise Http404 from error
    context = {"document": document, "slug": slug, "raw": reverse("help:raw", args=[language, slug])}
    return render(request, "help/page.html", {**_navigation(slug, language), **context})


def _language() -> str:
    """Language of the help for this reader: the active one if the help has it."""
    language = (get_language() or "en").partition("-")[0]
    return language if language in pages.LANGUAGES else "en"


def _navigation(slug: str, language: str) -> dict[str, object]:
    in_formats = slug == "results" or slug.startswith("format-")
    groups = [
        (
            group.title,
            [
                (each, pages.page(each, language).title, each.startswith("format-"))
                for each in pages.expand(group)
                if in_formats or not each.startswith("format-")
            ],
        )
        for group in pages.GROUPS
    ]
    order = [pages.INDEX, *pages.slugs()]
    following = ""
    if slug in order and order.index(slug) + 1 < len(order):
        following = order[order.index(slug) + 1]
    return {
        "groups": groups,
        "following": following,
        "following_title": pages.page(following, language).title if following else "",
    }
