"""Undo history: the latest changes of a correction, which their authors can undo and redo across saves.

A correction stores a list of entries, oldest first. Each has the correction's version number after the
change, its author, whether it is undone (and can be redone, until that person makes another change), and the
changed lines and names before and after. Undo reverts a person's own latest change; it is rejected if another
person has changed the same lines since.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from batches.transcripts.drafts import Draft

LIMIT = 200  # entries kept
TYPING = timedelta(seconds=30)  # saves of one line by one person within this time are one change
RECOGNISED = "recognised"  # marks an uncorrected line

Entry = dict[str, Any]


def record(
    history: list[Entry], before: Draft, after: Draft, number: int, by: int | None, at: datetime
) -> bool:
    """Append the differences between two drafts; this clears the redo entries of ``by``.

    Returns whether this is a new entry, as opposed to more typing in the same line.
    """
    entry: Entry = {
        "number": number,
        "by": by,
        "at": at.isoformat(),
        "undone": False,
        "redoable": False,
        "lines": _difference(before.edits, after.edits, RECOGNISED),
        "names": _difference(before.names, after.names, ""),
    }
    for each in history:
        each["redoable"] = each["redoable"] and each["by"] != by
    if history and _is_same_typing(history[-1], entry, at):
        [uid] = entry["lines"]
        history[-1]["lines"][uid][1] = entry["lines"][uid][1]
        history[-1].update(number=number, at=entry["at"])
        return False
    history.append(entry)
    del history[:-LIMIT]
    return True


def undoable(history: list[Entry], by: int | None) -> Entry | None:
    return next((each for each in reversed(history) if each["by"] == by and not each["undone"]), None)


def redoable(history: list[Entry], by: int | None) -> Entry | None:
    return next((each for each in history if each["by"] == by and each["redoable"]), None)


def undo(history: list[Entry], draft: Draft, number: int, by: int | None) -> None:
    """Undo the latest entry of ``by``. Raises ``ValidationError`` if there is none, or after a conflict."""
    _turn(undoable(history, by), draft, number, undone=True)


def redo(history: list[Entry], draft: Draft, number: int, by: int | None) -> None:
    _turn(redoable(history, by), draft, number, undone=False)


def changed_since(history: list[Entry], version: int, number: int) -> set[str] | None:
    """IDs of lines changed after ``version``; ``None`` if the history does not go back that far."""
    if version >= number:
        return set()
    entries = [each for each in history if each["number"] > version]
    if len(history) >= LIMIT and len(entries) == len(history):
        return None
    return {uid for each in entries for uid in each["lines"]}


def _turn(entry: Entry | None, draft: Draft, number: int, *, undone: bool) -> None:
    if entry is None:
        text = _("There is nothing to undo.") if undone else _("There is nothing to redo.")
        raise ValidationError(text, code="nothing")
    there, wanted = (1, 0) if undone else (0, 1)
    for kept, changes, missing in (
        (draft.edits, entry["lines"], RECOGNISED),
        (draft.names, entry["names"], ""),
    ):
        if any(kept.get(key, missing) != values[there] for key, values in changes.items()):
            raise ValidationError(
                _("Somebody has changed these lines since: this cannot be undone."), code="changed_since"
            )
    for kept, changes, missing in (
        (draft.edits, entry["lines"], RECOGNISED),
        (draft.names, entry["names"], ""),
    ):
        for key, values in changes.items():
            kept.pop(key, None)
            if values[wanted] != missing:
                kept[key] = values[wanted]
    entry.update(undone=undone, redoable=undone, number=number)


def _difference(before: dict[str, Any], after: dict[str, Any], missing: str) -> dict[str, list[Any]]:
    return {
        key: [before.get(key, missing), after.get(key, missing)]
        for key in {*before, *after}
        if before.get(key, missing) != after.get(key, missing)
    }


def _is_same_typing(last: Entry, entry: Entry, at: datetime) -> bool:
    """Whether both entries are one person's typing in one line, which is undone as one change."""
    if last["by"] != entry["by"] or last["undone"] or last["names"] or entry["names"]:
        return False
    if len(entry["lines"]) != 1 or list(last["lines"]) != list(entry["lines"]):
        return False
    moment = parse_datetime(last["at"])
    [(_uid, values)] = entry["lines"].items()
    return moment is not None and at - moment < TYPING and all(isinstance(each, dict) for each in values)
