"""Translated texts for the script of the transcript page."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

TEXTS: dict[str, str | Promise] = {
    "actions_of": _("Actions of the line at {time}"),
    "as_recognised": _("As recognised"),
    "change_speaker": _("Change the speaker"),
    "copied": _("Copied."),
    "copy_line": _("Copy the text"),
    "copy_link": _("Copy a link to this line"),
    "correct": _("Correct"),
    "corrected": _("corrected"),
    "done": _("Done"),
    "keep_yours": _("Keep mine"),
    "merge_before": _("Merge with the line before"),
    "merge_into": _("Merge into …"),
    "merge_speaker": _("Merge speaker {name} into another"),
    "name_of_speaker": _("Name of speaker {name}"),
    "new_speaker": _("New speaker"),
    "not_copied": _("The browser allows copying only on pages with https."),
    "recognised_as": _("Recognised: {text}"),
    "rename_speaker": _("Rename …"),
    "repetition": _("repeats?"),
    "repetition_help": _("The engine may have repeated itself here."),
    "replaced": _("Replaced {count} times."),
    "speaker": _("Speaker {name}"),
    "state_failed": _("Not saved: the portal cannot be reached. It is tried again."),
    "state_refused": _("Not saved: see the line"),
    "state_saved": _("All changes are saved"),
    "state_saving": _("Saving …"),
    "state_signed_out": _("Not saved: you are signed out. Sign in in another tab; it is tried again."),
    "state_waiting": _("Typing …"),
    "take_theirs": _("Take theirs"),
    "text_of_line": _("Text of this line"),
    "theirs": _("Theirs: {text}"),
    "unsure": _("unsure"),
    "unsure_help": _("This line was recognised with low confidence."),
    "yours": _("Yours: {text}"),
}
