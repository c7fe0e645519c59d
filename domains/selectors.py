"""Queries of domains for pages and the API."""

from __future__ import annotations

from django.db.models import Count

from domains.models import Domain, DomainQuerySet
from speechportal.accounts.models import Account


def list_domains(account: Account, query: str = "") -> DomainQuerySet:
    """Domains of the account with their batch and ``keyword_count``; ``query`` is part of a name or code."""
    domains = Domain.objects.for_account(account).select_related("batch")
    if query:
        domains = domains.matching(query)
    domains = domains.defer("replacement_rows", "declined_proposals")
    return domains.annotate(keyword_count=Count("keywords")).order_by("name", "pk")
