"""Request parameters of CLOVA Speech, parsed into a task's settings.

Source: the public API reference of CLOVA Speech (recognizer/upload, /url, /object-storage) and what public
clients send. Accepted beyond the reference:

- ``null`` for a parameter that is not set;
- dotted keys for the keys of an object (``diarization.enable``);
- true or false for an object that has the key ``enable``;
- parameters that CLOVA does not document. These, and parameters that have no effect here, are ignored and
  listed in a response header.

A known parameter with an invalid value is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from batches.formats import FORMATS
from batches.models import Batch, languages
from batches.models.recognition_settings import SETTINGS, Choice, Number, Setting, SettingValue
from batches.models.task_settings import TaskOverrides
from batches.postprocessing import transcript as postprocessing
from domains.keywords import check_keywords

COMPLETIONS = {"sync", "async"}
DIARIZATION = "diarization"
KNOWN = {
    *("url", "dataKey", "datakey", "completion", "callback", "userdata", "wordAlignment", "fullText"),
    *("boostings", "useDomainBoostings", "forbiddens", "resultToObs", "format", "noiseFiltering", "sed"),
    *("extras", *(setting.clova.partition(".")[0] for setting in SETTINGS.values() if setting.clova)),
}
SWITCHED = (DIARIZATION, "sed")  # objects with the key ``enable``
_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}


DEEPEST = 50
_UNKEPT = re.compile("[\0\ud800-\udfff]")


@dataclass
class Parameters:
    """Parsed parameters of a request. ``overrides`` are the settings that differ from the batch's."""

    completion: str = "async"
    callback: str = ""
    source: str = ""  # URL or key of the file; empty when the request contains the file
    overrides: TaskOverrides = field(default_factory=TaskOverrides)
    answer: dict[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def parse(given: Any, batch: Batch, *, source: str = "") -> Parameters:
    """Parse and validate the parameters of a request.

    ``given`` is the decoded JSON; ``source`` names the required parameter that locates the file, ``url`` or
    ``dataKey``, or is empty. Raises ``ValidationError`` with all errors, by parameter.
    """
    if not isinstance(given, dict):
        raise ValidationError({"params": _("This must be a JSON object.")})
    if not _can_be_kept(given):
        sentence = _("It holds what cannot be kept: characters such as U+0000, or too many levels.")
        raise ValidationError({"params": sentence})
    return _Reader(_nested(given), batch).read(source)


def _nested(given: dict[str, Any]) -> dict[str, Any]:
    """Normalise the parameters: drop nulls, nest dotted keys, turn switches into ``{"enable": …}``."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        group, dot, key = name.partition(".")
        if dot and group in SWITCHED:
            below = found.setdefault(group, {})
            if isinstance(below, dict) and value is not None:
                below[key] = value
        elif name in SWITCHED and not isinstance(value, dict) and value is not None:
            found[name] = {**found.get(name, {}), "enable": value}
        elif isinstance(value, dict) and name in SWITCHED:
            found[name] = {**value, **found.get(name, {})}
        elif value is not None:
            found[name] = value
    return found


def _as_flag(value: Any) -> Any:
    """Convert the spellings of true and false that clients use; return any other value unchanged."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return value
    folded = str(value).strip().lower()
    return folded in _TRUE if folded in _TRUE | _FALSE else value


class _Reader:
    def __init__(self, given: dict[str, Any], batch: Batch) -> None:
        self.given = given
        self.batch = batch
        self.errors: dict[str, str] = {}

    def read(self, source: str) -> Parameters:
        self.flag("noiseFiltering", default=True)  # Validated only: there is no noise filter here.
        output = self.one_of("format", FORMATS, "json")
        found = Parameters(
            completion=self.one_of("completion", COMPLETIONS, "async"),
            callback=self.text("callback"),
            source=self.source(source),
            overrides=self.overrides(output),
            answer={
                "userdata": self.userdata(),
                "word_alignment": self.flag("wordAlignment", default=True),
                "full_text": self.flag("fullText", default=True),
                "format": output,
                "extras": self.flag("extras", default=False),
                "callback": self.text("callback"),
                "noise_filtering": self.flag("noiseFiltering", default=True),
                "result_to_obs": self.flag("resultToObs", default=False),
                "sed": self.wants_events(),
            },
            ignored=self.ignored(),
        )
        found.answer["completion"] = found.completion
        if self.errors:
            raise ValidationError({name: [message] for name, message in self.errors.items()})
        return found

    def wants_events(self) -> bool:
        """Whether sound events are requested. There is no detector, so their lists stay empty."""
        events = self.given.get("sed")
        return isinstance(events, dict) and _as_flag(events.get("enable")) is True

    def ignored(self) -> tuple[str, ...]:
        """Names of the sent parameters that have no effect here."""
        found = set(self.given) - KNOWN
        if self.wants_events():
            found.add("sed")
        if _as_flag(self.given.get("noiseFiltering")) is True:
            found.add("noiseFiltering")
        boostings = self.given.get("boostings")
        entries = boostings if isinstance(boostings, list) else []
        if any(isinstance(each, dict) and "weight" in each for each in entries):
            found.add("boostings.weight")
        return tuple(sorted(found))

    def source(self, name: str) -> str:
        if not name:
            return ""
        value = self.text(name) or (self.text("datakey") if name == "dataKey" else "")
        if not value and name not in self.errors:
            self.errors[name] = _("This field is required.")
        return value

    def overrides(self, output: str) -> TaskOverrides:
        # The response contains the result; result files are written only on request.
        formats = (output,) if self.flag("resultToObs", default=False) else ()
        return TaskOverrides(
            recognition=self.recognition(),
            keywords=self.keywords(),
            forbidden=self.forbidden(),
            formats=formats,
        )

    def recognition(self) -> dict[str, SettingValue]:
        """Recognition settings that the request changes; ``Setting.clova`` names the parameter of each."""
        found: dict[str, SettingValue] = {}
        for name, setting in SETTINGS.items():
            if isinstance(setting, Choice) and setting.clova and (value := self.choice(setting)):
                found[name] = value
        return {**found, **self.speakers()}

    def choice(self, setting: Choice) -> str:
        """Code of the requested choice, matched without regard to case; empty when none was sent."""
        sent = self.text(setting.clova)
        if not sent:
            return ""
        if setting.clova == "language" and (found := languages.find(sent)):
            return found
        for code, _label in setting.choices():
            if code.lower() == sent.lower():
                return code
        self.errors[setting.clova] = _("This language is not known here.")
        return ""

    def speakers(self) -> dict[str, SettingValue]:
        sent = self.given.get(DIARIZATION)
        if sent is None:
            return {}
        if not isinstance(sent, dict):
            self.errors[DIARIZATION] = _("This must be a JSON object.")
            return {}
        found: dict[str, SettingValue] = {}
        for name, setting in SETTINGS.items():
            group, _dot, key = setting.clova.partition(".")
            if group == DIARIZATION:
                found[name] = _sent(setting, sent.get(key))
        # Diarization switched off also switches off one speaker per channel.
        if found["speakers"] is False:
            found["channels_as_speakers"] = False
        if self.batch.recognition.with_changes(found).errors():
            self.errors[DIARIZATION] = _(
                "Give “enable” as true or false, and the numbers of speakers as 1 to 30, or -1."
            )
            return {}
        return found

    def keywords(self) -> tuple[str, ...] | None:
        """Keywords of this request (``boostings``), with the domain's unless ``useDomainBoostings`` is false.

        ``None`` when the request sets neither parameter.
        """
        given = self.given.get("boostings")
        with_domain = self.flag("useDomainBoostings", default=self.batch.recognition.keyword_boosting)
        if given is None and "useDomainBoostings" not in self.given:
            return None
        texts = self.boosted(given)
        if with_domain and self.batch.domain is not None:
            texts += self.batch.domain.keywords.values_list("text", flat=True)
        return tuple(self.words("boostings", texts))

    def boosted(self, given: Any) -> list[str]:
        """Texts in ``boostings``: a list of objects, whose weight has no effect, or of strings."""
        entries = given if isinstance(given, list) else [] if given is None else [given]
        texts = [each.get("words") if isinstance(each, dict) else each for each in entries]
        found = [text for text in texts if text is not None]
        if not all(isinstance(text, str) for text in found):
            self.errors["boostings"] = _('This must be a list such as [{"words": "one,two"}].')
            return []
        return found

    def forbidden(self) -> str:
        """Forbidden words (``forbiddens``), separated by commas; the result masks them with asterisks."""
        given = self.given.get("forbiddens", "")
        texts = given if isinstance(given, list) else [given]
        if not all(isinstance(text, str) for text in texts):
            self.errors["forbiddens"] = _("This must be text.")
            return ""
        return ",".join(self.words("forbiddens", texts))

    def words(self, name: str, texts: list[str]) -> list[str]:
        try:
            return check_keywords(texts)
        except ValidationError as error:
            self.errors[name] = " ".join(error.messages)
            return []

    def userdata(self) -> dict[str, Any]:
        value = self.given.get("userdata", {})
        if not isinstance(value, dict):
            self.errors["userdata"] = _("This must be a JSON object.")
            return {}
        domain = self.batch.domain
        if domain is not None and domain.redaction.userdata:
            return dict(postprocessing.redacted_values(value, domain.redaction.kinds))
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = _as_flag(self.given.get(name, default))
        if not isinstance(value, bool):
            self.errors[name] = _("This must be true or false.")
            return default
        return value

    def text(self, name: str) -> str:
        value = self.given.get(name, "")
        if not isinstance(value, str):
            self.errors[name] = _("This must be text.")
            return ""
        return value.strip()

    def one_of(self, name: str, choices: Collection[str], default: str) -> str:
        value = self.text(name).lower() or default
        if value not in choices:
            self.errors[name] = _("Choose one of: %s.") % ", ".join(sorted(choices))
        return value


def _can_be_kept(given: Any) -> bool:
    """Whether a database can store the value: no NUL, no lone surrogate, at most ``DEEPEST`` levels."""
    level = [given]
    for _depth in range(DEEPEST):
        texts = [value for value in level if isinstance(value, str)]
        if any(_UNKEPT.search(text) for text in texts):
            return False
        pairs = [pair for value in level if isinstance(value, dict) for pair in value.items()]
        lists = [value for value in level if isinstance(value, list)]
        level = [each for group in (*pairs, *lists) for each in group]
        if not level:
            return True
    return False


def _sent(setting: Setting, value: Any) -> Any:
    """Convert a value of CLOVA's ``diarization`` to that of a setting.

    A missing switch is on. A missing number, -1 and 0 mean that the number is not set.
    """
    if isinstance(setting, Number):
        number = (
            int(value) if isinstance(value, str) and value.strip().removeprefix("-").isdecimal() else value
        )
        return None if type(number) is int and number in {-1, 0} else number
    return True if value is None else _as_flag(value)
