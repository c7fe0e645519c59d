"""`Domain`: a recognition profile. `Keyword`: a word or phrase to boost. `KeywordUse`: daily statistics."""

from __future__ import annotations

from typing import ClassVar, Self

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from domains import offered_models
from domains.redaction import RedactionSettings
from domains.replacements import Replacement
from speechportal.accounts.models import Account
from speechportal.accounts.scoping import ScopedManager
from speechportal.accounts.uids import UidField
from speechportal.platform.typed_json import TypedJSONField

KEYWORD_LIMIT = 1000
KEYWORD_LENGTH = 100

validate_code = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9_-]*\Z",
    _("Use letters, digits, hyphens and underscores; start with a letter or a digit."),
)


class DomainQuerySet(models.QuerySet["Domain"]):
    def matching(self, text: str) -> Self:
        """Domains whose name or code contains ``text``."""
        return self.filter(models.Q(name__icontains=text) | models.Q(code__icontains=text))

    def free_for_batch(self) -> Self:
        """Domains that a new batch may use: Basic ones without a batch."""
        return self.filter(plan=Domain.Plan.BASIC, batch__isnull=True)


class ScopedDomains(ScopedManager["Domain"]):
    def for_account(self, account: Account) -> DomainQuerySet:
        return DomainQuerySet(self.model, using=self._db).filter(account=account)


class Domain(models.Model):
    """Recognition profile: keywords, text rules and models."""

    class Plan(models.TextChoices):
        FREE = "free", _("Free")
        BASIC = "basic", _("Basic")

    class ForbiddenAction(models.TextChoices):
        MASK = "mask", _("Mask: ****")
        REMOVE = "remove", _("Remove")

    class ClovaResult(models.TextChoices):
        """CLOVA's code for a finished result: it has had two, and clients exist for each."""

        COMPLETED = "COMPLETED"
        SUCCEEDED = "SUCCEEDED"

    # Values that the activity list names otherwise than as they are stored.
    AUDIT_LABELS: ClassVar = {
        name: {offered_models.DEFAULT: _("The portal’s default")}
        for name in ("whisper_model", "speaker_model")
    }

    uid = UidField("dom")
    account = models.ForeignKey(
        Account, verbose_name=_("account"), on_delete=models.CASCADE, related_name="domains"
    )
    name = models.CharField(_("domain name"), max_length=100)
    code = models.CharField(
        _("domain code"),
        max_length=50,
        validators=[validate_code],
        help_text=_("A short name for programs, unique in the account."),
    )
    plan = models.CharField(
        _("plan"),
        max_length=10,
        choices=Plan.choices,
        default=Plan.BASIC,
        help_text=_("Only a Basic domain can have a batch."),
    )
    whisper_model = models.CharField(
        _("Whisper model"),
        max_length=offered_models.NAME_LENGTH,
        default=offered_models.DEFAULT,
        help_text=_(
            "Turns speech into text. Files that were recognised with another model stay as they are."
        ),
    )
    speaker_model = models.CharField(
        _("speaker model"),
        max_length=offered_models.NAME_LENGTH,
        default=offered_models.DEFAULT,
        help_text=_("Tells apart who speaks."),
    )
    replacement_rows = models.JSONField(_("replacements"), default=list, blank=True)
    forbidden_words = models.JSONField(_("forbidden words"), default=list, blank=True)
    forbidden_action = models.CharField(
        _("forbidden words are"),
        max_length=10,
        choices=ForbiddenAction.choices,
        default=ForbiddenAction.MASK,
    )
    redaction: models.JSONField[RedactionSettings, RedactionSettings] = TypedJSONField(
        RedactionSettings, verbose_name=_("redaction"), default=RedactionSettings, blank=True
    )
    # Proposed replacements, derived from corrections, that members have declined: [heard, written].
    declined_proposals = models.JSONField(default=list, blank=True, editable=False)
    clova_result = models.CharField(
        _("CLOVA clients’ word for success"),
        max_length=10,
        choices=ClovaResult.choices,
        default=ClovaResult.COMPLETED,
        help_text=_("The “result” of a finished transcript in answers and callbacks of CLOVA’s API."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    unscoped = models.Manager.from_queryset(DomainQuerySet)()
    objects: ClassVar[ScopedDomains] = ScopedDomains()

    class Meta:
        verbose_name = _("domain")
        verbose_name_plural = _("domains")
        ordering = ["name", "pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                "account",
                Lower("code"),
                name="domain_code_unique",
                violation_error_message=_("A domain with this code already exists."),
            ),
            models.CheckConstraint(condition=models.Q(plan__in=["free", "basic"]), name="domain_plan_known"),
        ]

    def __str__(self) -> str:
        return f"{self.name} / {self.code}"

    @property
    def replacements(self) -> tuple[Replacement, ...]:
        """Table of replacements, in the order in which they are applied."""
        return tuple(Replacement.from_json(row) for row in self.replacement_rows)

    @property
    def model_pair(self) -> offered_models.ModelPair:
        """Models of its tasks, unless the batch or a request chooses others."""
        return offered_models.resolve([self.whisper_model], [self.speaker_model])

    def clean(self) -> None:
        super().clean()
        errors: dict[str, str] = {}
        offered = {
            "whisper_model": offered_models.whisper_models(),
            "speaker_model": offered_models.speaker_models(),
        }
        for field, names in offered.items():
            if getattr(self, field) not in {offered_models.DEFAULT, *names}:
                errors[field] = gettext("The model “%s” is not offered here.") % getattr(self, field)
        if errors:
            raise ValidationError(errors)
        if self.pk and self.plan == self.Plan.FREE and hasattr(self, "batch"):
            raise ValidationError({"plan": _("A domain that has a batch cannot become Free.")})


class Keyword(models.Model):
    """Keyword: a word or phrase to boost in recognition."""

    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="keywords")
    text = models.CharField(_("keyword"), max_length=KEYWORD_LENGTH)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("domain__account")

    class Meta:
        verbose_name = _("keyword")
        verbose_name_plural = _("keywords")
        ordering = ["text", "pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                "domain",
                Lower("text"),
                name="keyword_unique",
                violation_error_message=_("The domain has this keyword already."),
            )
        ]

    def __str__(self) -> str:
        return self.text


class KeywordUse(models.Model):
    """Statistics of one keyword on one day; there is no row for a day without use."""

    keyword = models.ForeignKey(Keyword, on_delete=models.CASCADE, related_name="use")
    day = models.DateField(_("day"))
    heard = models.PositiveIntegerField(_("heard"), default=0)
    accepted = models.PositiveIntegerField(_("accepted"), default=0)
    refused = models.PositiveIntegerField(_("refused"), default=0)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("keyword__domain__account")

    class Meta:
        verbose_name = _("keyword use")
        verbose_name_plural = _("keyword use")
        ordering = ["day", "pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [models.UniqueConstraint(fields=["keyword", "day"], name="keyword_use_once_a_day")]

    def __str__(self) -> str:
        return f"{self.keyword}, {self.day}"
