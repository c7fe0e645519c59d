"""Forms of batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from batches import field_defaults
from batches.formats import FORMATS
from batches.models import Batch
from batches.models.batch import CSV_COLUMNS
from batches.models.recognition_settings import NUMBERS_AS_SPOKEN, SETTINGS, Choice, Number, Setting, Words
from batches.services import selectors
from domains.offered_models import DEFAULT
from speechportal.accounts.models import Account
from speechportal.platform.versioned_forms import VersionedForm
from speechportal.storage.models import Connection

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

TIMING = ("poll_seconds", "settle_seconds")
ADVANCED = ("webhook_url", "priority", "transcript_days", *TIMING, "csv_columns", "takes_requests")
# Default values of advanced settings, for which the section stays closed.
UNSEEN: tuple[object, ...] = (None, "", 0, "0", DEFAULT, NUMBERS_AS_SPOKEN, [])
# Fields that a duplicate copies: all but the name and the domain, which each batch has of its own.
COPIED = (
    *("connection", "input_path", "result_path", "formats", "webhook_url", "priority", "transcript_days"),
    *(*TIMING, "csv_columns"),
)


class ConnectionSelect(forms.Select):
    """Select of connections; its options carry the IDs with which static/portal/browse.js lists folders."""

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *args, **kwargs)
        if instance := getattr(value, "instance", None):
            option["attrs"]["data-uid"] = instance.uid
        return option


def formats_field(help_text: _StrOrPromise = "") -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        label=_("File format"),
        help_text=help_text,
        choices=[(each.name, _(each.label)) for each in FORMATS.values()],
        widget=forms.CheckboxSelectMultiple,
        initial=field_defaults.formats,
    )


def csv_columns_field() -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        label=_("More columns of execution results"),
        required=False,
        choices=CSV_COLUMNS,
        widget=forms.CheckboxSelectMultiple,
    )


def setting_field(setting: Setting) -> forms.Field:
    """The form field of a recognition setting."""
    common: dict[str, Any] = {"label": capfirst(setting.label), "help_text": setting.help_text}
    match setting:
        case Choice():
            return forms.ChoiceField(choices=setting.source, required=not setting.is_advanced, **common)
        case Number(minimum=minimum, maximum=maximum):
            return forms.IntegerField(required=False, min_value=minimum, max_value=maximum, **common)
        case Words(longest=longest):
            area = forms.Textarea(attrs={"rows": 2, "spellcheck": "false"})
            return forms.CharField(required=False, max_length=longest, widget=area, **common)
        case _:
            return forms.BooleanField(required=False, **common)


class RecognitionFields(forms.BaseForm):
    """Mixin for a batch's form: a field for each recognition setting.

    The cleaned data has their values as ``recognition``, a dictionary by name, for the services.
    """

    instance: Batch
    # Read by the metaclass of the forms that have this mixin.
    declared_fields: ClassVar[dict[str, forms.Field]] = {
        name: setting_field(setting) for name, setting in SETTINGS.items()
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in SETTINGS:
            self.initial.setdefault(name, getattr(self.instance.recognition, name))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        given = {name: cleaned.pop(name) for name in SETTINGS if name in cleaned}
        # An empty choice keeps the present value: a sender may not know of the setting.
        given = {
            name: value
            for name, value in given.items()
            if value != "" or not isinstance(SETTINGS[name], Choice)
        }
        self.instance.recognition = self.instance.recognition.with_changes(given)
        return {**cleaned, "recognition": given}

    def basic_settings(self) -> list[forms.BoundField]:
        return [self[name] for name, setting in SETTINGS.items() if not setting.is_advanced]

    def advanced_settings(self) -> list[forms.BoundField]:
        return [self[name] for name, setting in SETTINGS.items() if setting.is_advanced]


class BatchForm(RecognitionFields, VersionedForm, forms.ModelForm[Batch]):
    help_topics: ClassVar[dict[str, str]] = {
        "name": "batches#name-and-domain",
        "domain": "batches#name-and-domain",
        "connection": "storages",
        "input_path": "batches#paths",
        "result_path": "batches#what-happens-to-a-file",
        "formats": "results",
        "language": "batches#language",
        "speakers": "batches#speaker-separation",
        "channels_as_speakers": "batches#speaker-separation",
        "default_track_only": "batches#speaker-separation",
        "word_confidence": "results#quality-signals",
        "numbers": "results#numbers",
        "keyword_boosting": "batches#keyword-boosting",
        "forbidden": "redaction#forbidden-words",
        "webhook_url": "webhooks",
        "priority": "batches#priority-and-retention",
        "transcript_days": "batches#priority-and-retention",
        "poll_seconds": "batches#adding-files",
        "settle_seconds": "batches#adding-files",
        "csv_columns": "batches#execution-results",
        "takes_requests": "openai#which-batch-takes-the-file",
    }
    csv_columns = csv_columns_field()
    formats = formats_field(_("Each recognised file gets a result file in every format you choose."))

    class Meta:
        model = Batch
        fields = ["name", "domain", *COPIED, "takes_requests"]
        widgets = {"connection": ConnectionSelect, "webhook_url": forms.URLInput}
        help_texts = {
            "domain": _("Free domains, and domains that already have a batch, are not listed."),
            "connection": _("The storage that holds both paths."),
            "input_path": _(
                "Every media file that appears in this folder, or in folders below it, is recognised."
                " Empty means the whole connection."
            ),
            "result_path": _("Result files and execution results are written here."),
        }

    def __init__(self, *args: Any, account: Account, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.account = account
        batch = self.instance if self.instance.pk else None
        domain, connection = self._choice("domain"), self._choice("connection")
        domain.queryset = selectors.choosable_domains(account, batch)
        domain.empty_label = str(_("Choose a domain"))
        connection.queryset = Connection.objects.for_account(account)
        connection.empty_label = str(_("Choose a connection"))
        domain.required = connection.required = True
        for field in (domain, connection) if batch is None else ():
            choices = field.queryset
            if choices is not None and len(only := list(choices[:2])) == 1:
                field.initial = only[0]
        for name in ("input_path", "result_path"):
            self.fields[name].widget.attrs.update(
                spellcheck="false", autocapitalize="off", autocomplete="off"
            )

    def _choice(self, name: str) -> forms.ModelChoiceField[Any]:
        field = self.fields[name]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 - a foreign key
        return field

    @property
    def advanced_open(self) -> bool:
        """Whether to show the advanced settings open: one has an error, or a value other than the default."""
        folded = [*self.advanced_settings(), *(self[name] for name in ADVANCED)]
        return any(field.errors or field.value() not in UNSEEN for field in folded)
