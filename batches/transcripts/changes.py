"""Change requests: edits of a transcript as sent by the page's script and the API, each with a kind.

The script identifies a line by its ID (``line``), the API by its index (``segment``). ``KINDS`` is the
registry of kinds, which the page, the API and its schema read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from batches.models import Correction, Task
from batches.transcripts import corrections
from batches.transcripts.drafts import Draft
from speechportal.accounts.models import User

MOST = 1000  # changes in one request


@dataclass(frozen=True)
class Kind:
    """Kind of change: its parameters with their types, and the edit of the draft.

    ``optional`` maps the optional parameters to their default values.
    """

    needs: Mapping[str, type]
    edit: Callable[[Draft, dict[str, Any]], object]
    optional: Mapping[str, Any]


def _kind(
    edit: Callable[[Draft, dict[str, Any]], object], optional: Mapping[str, Any], **needs: type
) -> Kind:
    return Kind(needs, edit, optional)


TAG: Mapping[str, Any] = {"tag": None}
KINDS: Mapping[str, Kind] = {
    "text": _kind(lambda d, c: d.set_text(c["line"], c["text"], c["tag"]), TAG, line=str, text=str),
    "speaker": _kind(
        lambda d, c: d.set_speaker([c["line"]], c["speaker"], c["tag"]), TAG, line=str, speaker=str
    ),
    "split": _kind(lambda d, c: d.split(c["line"], c["offset"], c["tag"]), TAG, line=str, offset=int),
    "merge": _kind(lambda d, c: d.merge(c["line"], c["tag"]), TAG, line=str),
    "merge_speakers": _kind(
        lambda d, c: d.merge_speakers(c["speaker"], c["into"]), {}, speaker=str, into=str
    ),
    "replace": _kind(
        lambda d, c: d.replace_all(c["find"], c["text"], match_case=c["match_case"]),
        {"match_case": False},
        find=str,
        text=str,
    ),
    "name": _kind(lambda d, c: d.name({c["speaker"]: c["name"]}), {}, speaker=str, name=str),
}


def apply(*, task: Task, changes: Sequence[object], by: User | None) -> Correction:
    """Apply all changes or none, as one entry of the undo history.

    Raises ``ValidationError`` for an invalid change, and ``Conflict`` if another person has changed a line
    since the tag in the change was issued.
    """
    if not changes or len(changes) > MOST:
        raise ValidationError(
            _("Send 1 to %(limit)d changes."), code="invalid_changes", params={"limit": MOST}
        )
    checked = [_checked(each) for each in changes]

    def edit(draft: Draft) -> None:
        for kind, values in checked:
            kind.edit(draft, _with_line(draft, values))

    return corrections.change(task=task, edit=edit, by=by)


def _with_line(draft: Draft, values: dict[str, Any]) -> dict[str, Any]:
    """Replace ``segment``, an index into the lines as left by the preceding changes, by the line's ID."""
    if "segment" not in values:
        return values
    lines, at = draft.lines, values["segment"]
    if not 0 <= at < len(lines):
        raise ValidationError(_("The transcript has no such line."), code="no_segment")
    return {**values, "line": lines[at].uid}


def _checked(change: object) -> tuple[Kind, dict[str, Any]]:
    kind = KINDS.get(str(change.get("kind"))) if isinstance(change, dict) else None
    if kind is None or not isinstance(change, dict):
        kinds = ", ".join(KINDS)
        raise ValidationError(
            _("A change is an object whose kind is one of: %(kinds)s."),
            code="invalid_changes",
            params={"kinds": kinds},
        )
    values = {**kind.optional, **{key: value for key, value in change.items() if key != "kind"}}
    needs = dict(kind.needs)
    if "line" in needs and "segment" in values:
        del needs["line"]
        needs["segment"] = int
    right = {*needs, *kind.optional}
    wrong = {key for key, wanted in needs.items() if type(values.get(key)) is not wanted}
    wrong |= {key for key, value in kind.optional.items() if not isinstance(values[key], type(value) | str)}
    wrong |= set(values) - right
    if wrong:
        raise ValidationError(
            _("In a change of the kind %(kind)s, these are missing or wrong: %(names)s."),
            code="invalid_changes",
            params={"kind": change["kind"], "names": ", ".join(sorted(wrong))},
        )
    return kind, values
