"""Generated parts of the help pages: file formats, failure reasons, languages, scopes, storages.

Each function returns Markdown in the active language (``settings.HELP_BLOCKS``, ``settings.HELP_FORMATS``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from batches import formats
from batches.intake.input_path import MEDIA_ENDINGS
from batches.models import languages as language_choices
from batches.recognition.transcript import Segment, Transcript, Word
from batches.status.failures import CATALOGUE, FailureReason, Level
from batches.webhooks.events import EVENTS
from speechportal.accounts.tokens import scopes as token_scopes
from speechportal.help import pages
from speechportal.storage import kinds

Text = str | Promise


def table(head: Sequence[Text], rows: Sequence[Sequence[Text]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines
    )


# --- Failure reasons ----------------------------------------------------------------------------------
LEVELS: dict[Level, Text] = {
    Level.FILE: gettext_lazy("Single files"),
    Level.BATCH: gettext_lazy("Batches and accounts"),
    Level.CONNECTION: gettext_lazy("Storages"),
    Level.INSTALLATION: gettext_lazy("The installation"),
    Level.RECEIVER: gettext_lazy("Receivers and other addresses"),
}


def failures() -> str:
    """Failure reasons of tasks and batches, by level."""
    parts = []
    for level, title in LEVELS.items():
        found = [reason for reason in CATALOGUE.values() if reason.level is level]
        rows = [(f"`{each.code}`", _without_values(each.sentence), _advice(each)) for each in found]
        head = [_("Code"), _("Cause"), _("What to do")]
        parts.append(f"### {title} {{#reasons-{level.value}}}\n\n" + table(head, rows))
    return "\n\n".join(parts)


def _advice(reason: FailureReason) -> Text:
    """Advice of a failure reason; without one, whether the task is retried."""
    return reason.advice or ("" if reason.is_permanent else _("It is tried again by itself."))


def _without_values(sentence: Text) -> str:
    return re.sub(r"%\(\w+\)s", "…", str(sentence))


# --- File formats -------------------------------------------------------------------------------------
def format_names() -> list[str]:
    return list(formats.FORMATS)


def formats_table() -> str:
    rows = [
        (f"[{_label(each)}](format-{each.name}.md)", f"`{each.extension}`", f"`{each.media_type}`")
        for each in formats.FORMATS.values()
    ]
    return table([_("Format"), _("File ending"), _("Media type")], rows)


def format_values(name: str) -> Mapping[str, str]:
    """Values for the help page of a format, from the registry, with an example rendered in that format."""
    each = formats.FORMATS[name]
    details = pages.FOLDER / (get_language() or "en") / "formats" / f"{name}.md"
    return {
        "label": _label(each),
        "name": name,
        "extension": each.extension,
        "media_type": each.media_type,
        "details": details.read_text(encoding="utf-8").strip() if details.is_file() else "",
        "example": _("(A binary file, which cannot be shown here.)") if each.binary else _fenced(name),
    }


def _fenced(name: str) -> str:
    """Example as a code block; JSON with a line for each key and list member."""
    text = example(name).decode().replace("\r\n", "\n").strip("\ufeff\n ")
    if name != "json":
        return f"```text\n{text}\n```"
    lines = []
    for key, value in json.loads(text).items():
        if isinstance(value, list) and value:
            members = ",\n".join(f"    {json.dumps(member, ensure_ascii=False)}" for member in value)
            lines.append(f'  "{key}": [\n{members}\n  ]')
        else:
            lines.append(f'  "{key}": {json.dumps(value, ensure_ascii=False)}')
    return "```json\n{\n" + ",\n".join(lines) + "\n}\n```"


def _label(each: formats.Format) -> str:
    return _(each.label)


def example(name: str) -> bytes:
    """Example document: a short conversation in the format ``name``."""
    context = formats.Context(
        task_id="tsk_example", domain="calls", language="en-US", diarization=True, speaker_names={"1": "Anna"}
    )
    words = [Word(0, 300, " Good", 0.98, "1"), Word(300, 800, " morning.", 0.97, "1")]
    conversation = Transcript(
        language="en",
        language_probability=1.0,
        duration=4000,
        segments=[
            Segment(0, 800, "Good morning.", words, 0.97, "1"),
            Segment(1200, 2000, "Hello.", [Word(1200, 2000, " Hello.", 0.95, "2")], 0.95, "2"),
        ],
        speakers=["1", "2"],
        speech_duration=1600,
    )
    return formats.render(name, conversation, context)


def media_endings() -> str:
    """File name extensions of the media files that a batch accepts."""
    return ", ".join(f"`{ending}`" for ending in sorted(MEDIA_ENDINGS))


# --- Choices ------------------------------------------------------------------------------------------
def languages() -> str:
    choices = [
        *language_choices.CLOVA,
        (language_choices.AUTO, _("Detect automatically")),
        *language_choices.OTHERS,
    ]
    return ", ".join(f"`{code}` ({label})" for code, label in choices)


def scopes() -> str:
    rows = [(f"`{area}:read`, `{area}:write`", label) for area, label in token_scopes.AREAS.items()]
    everything = [("`read`, `write`", _("Everything"))]
    return table([_("Scope"), _("Allows to read, or to change")], [*everything, *rows])


def events() -> str:
    """Types of webhook events."""
    rows = [(f"`{name}`", event.label, event.contents) for name, event in EVENTS.items()]
    return table(["`type`", _("Event"), _("In `data`, beside `account` and `batch`")], rows)


def providers() -> str:
    rows = [
        (
            kind.label,
            ", ".join(f"`{each['region']}`" for each in kind.suggestions() if "region" in each) or "–",
        )
        for kind in kinds.KINDS.values()
    ]
    return table([_("Storage"), _("Regions with a preset")], rows)
