"""Services that create, change and delete domains, for the portal, Django admin and the API."""

from __future__ import annotations

from typing import TypedDict, Unpack

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils.translation import gettext as _

from domains.keywords import check_keywords
from domains.models import Domain, Keyword
from domains.redaction import RedactionSettings
from domains.replacements import Replacement
from speechportal.accounts.audit import trail
from speechportal.accounts.models import Account
from speechportal.platform import validation

FORBIDDEN_LENGTH = 5000  # characters of all forbidden words


class DomainFields(TypedDict, total=False):
    name: str
    code: str
    plan: str
    whisper_model: str
    speaker_model: str
    forbidden_words: list[str]
    forbidden_action: str
    redaction: RedactionSettings
    clova_result: str


def create_domain(
    *,
    account: Account,
    keywords: list[str] | None = None,
    replacements: list[Replacement] | None = None,
    **fields: Unpack[DomainFields],
) -> Domain:
    """Create a domain. Raises ``ValidationError``."""
    return _save(Domain(account=account, **fields), keywords or [], replacements)


def update_domain(
    *,
    domain: Domain,
    keywords: list[str] | None = None,
    replacements: list[Replacement] | None = None,
    **fields: Unpack[DomainFields],
) -> Domain:
    """Change the given fields; ``keywords`` and ``replacements`` replace all of the domain's.

    Raises ``ValidationError``.
    """
    for name, value in fields.items():
        setattr(domain, name, value)
    return _save(domain, keywords, replacements)


def add_keywords(*, domain: Domain, keywords: list[str]) -> Domain:
    """Add the keywords that the domain lacks. Raises ``ValidationError``, also above the limit."""
    with transaction.atomic():
        _lock(domain)
        own = Keyword.unscoped.filter(domain=domain).values_list("text", flat=True)
        _replace_keywords(domain, check_keywords([*own, *keywords]))
    return domain


def remove_keywords(*, domain: Domain, keywords: list[str]) -> Domain:
    """Remove keywords, regardless of case; unknown ones are ignored."""
    gone = {keyword.lower() for keyword in keywords}
    with transaction.atomic():
        _lock(domain)
        own = Keyword.unscoped.filter(domain=domain).values_list("text", flat=True)
        _replace_keywords(domain, [text for text in own if text.lower() not in gone])
    return domain


def replace_keywords(*, domain: Domain, keywords: list[str]) -> Domain:
    """Replace all of the domain's keywords. Raises ``ValidationError``."""
    with transaction.atomic():
        _lock(domain)
        _replace_keywords(domain, check_keywords(keywords))
    return domain


def _lock(domain: Domain) -> None:
    Domain.unscoped.select_for_update().get(pk=domain.pk)


def delete_domain(*, domain: Domain) -> None:
    """Delete a domain. Raises ``ValidationError`` while a batch uses it."""
    try:
        domain.delete()
    except ProtectedError as error:
        raise ValidationError(
            _("The batch “%s” uses this domain. Delete the batch first, or give it another domain.")
            % domain.batch.name,
            code="domain_in_use",
        ) from error


def decline_proposal(*, domain: Domain, heard: str, written: str) -> None:
    """Decline a proposed replacement, so that it is not proposed again."""
    with transaction.atomic():
        locked = Domain.unscoped.select_for_update().get(pk=domain.pk)
        declined = [*locked.declined_proposals, [heard, written]]
        Domain.unscoped.filter(pk=domain.pk).update(declined_proposals=declined)


def _check_forbidden(words: list[str]) -> None:
    if sum(len(word) + 2 for word in words) > FORBIDDEN_LENGTH:
        sentence = _("The forbidden words have more than %d characters.") % FORBIDDEN_LENGTH
        raise ValidationError({"forbidden_words": sentence})


def _save(
    domain: Domain, keywords: list[str] | None, replacements: list[Replacement] | None = None
) -> Domain:
    _check_forbidden(domain.forbidden_words)
    changed = replacements is not None and tuple(replacements) != domain.replacements
    if replacements is not None:
        domain.replacement_rows = [replacement.to_json() for replacement in replacements]
    validation.clean(domain, {"domain_code_unique": "code"})
    try:
        with transaction.atomic():
            domain.save()
            if keywords is not None:
                _replace_keywords(domain, keywords)
            if changed:
                trail.record("domain.replacements_changed", domain)
    except IntegrityError as error:
        raise _as_validation_error(error) from error
    return domain


def _replace_keywords(domain: Domain, keywords: list[str]) -> None:
    kept = dict(Keyword.unscoped.filter(domain=domain).values_list("text", "pk"))
    gone = [text for text in kept if text not in set(keywords)]
    new = [text for text in keywords if text not in kept]
    Keyword.unscoped.filter(pk__in=[kept[text] for text in gone]).delete()
    Keyword.unscoped.bulk_create(Keyword(domain=domain, text=text) for text in new)
    if gone or new:
        trail.record("domain.keywords_changed", domain, changes={"keywords": [gone, new]})


def _as_validation_error(error: IntegrityError) -> ValidationError:
    """Convert a constraint violation, which concurrent requests can cause after validation."""
    if "batch_on_free_domain" in str(error):
        return ValidationError({"plan": _("A domain that has a batch cannot become Free.")})
    if "domain_code_unique" in str(error):
        taken = ValidationError(_("A domain with this code already exists."), code="domain_code_unique")
        return ValidationError({"code": taken})
    if "keyword_unique" in str(error):
        return ValidationError({"keywords": _("Somebody else has changed the keywords. Please try again.")})
    raise error
