"""Proposals of keywords and replacements, from words that members corrected the same way in three places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from django.db.models import Count

from batches.models import CorrectedWord, Task
from batches.recognition.transcript import Transcript
from domains import services
from domains.models import Domain
from domains.replacements import Replacement

PLACES = 3  # with the same correction before it is proposed
LONGEST = 4  # words on either side; a longer stretch is a rewritten sentence
SHOWN = 20
_OUTER = " .,!?;:…\"'“”‘’()[]"


@dataclass(frozen=True, slots=True)
class Proposal:
    heard: str
    written: str
    places: int


def note(task: Task, index: int, transcript: Transcript, text: str | None) -> None:
    """Record the words that the correction of a line changed; ``None`` removes the record."""
    domain_id = task.batch.domain_id
    CorrectedWord.unscoped.filter(task=task, segment=index).delete()
    if domain_id is None or text is None:
        return
    segment = transcript.segments[index]
    pairs = dict.fromkeys(word_pairs(segment.text, text))
    CorrectedWord.unscoped.bulk_create(
        CorrectedWord(domain_id=domain_id, task=task, segment=index, heard=heard, written=written)
        for heard, written in pairs
    )


def word_pairs(heard: str, written: str) -> Iterator[tuple[str, str]]:
    """Word-level differences of two texts: pairs of the recognised and the corrected words."""
    before, after = heard.split(), written.split()
    matcher = SequenceMatcher(None, [_bare(word) for word in before], [_bare(word) for word in after], False)
    for operation, start, end, new_start, new_end in matcher.get_opcodes():
        if operation != "replace" or end - start > LONGEST or new_end - new_start > LONGEST:
            continue
        old, new = _bare(" ".join(before[start:end])), _bare(" ".join(after[new_start:new_end]))
        if old and new and old != new and len(old) <= 100 and len(new) <= 100 and "*" not in old + new:
            yield old, new


def _bare(word: str) -> str:
    return word.strip(_OUTER)


def proposals(domain: Domain) -> list[Proposal]:
    """Proposals for the domain's page, the most frequent first."""
    counted = (
        CorrectedWord.objects.for_account(domain.account)
        .filter(domain=domain)
        .values("heard", "written")
        .annotate(places=Count("pk"))
        .filter(places__gte=PLACES)
        .order_by("-places", "heard", "written")
    )
    declined = {(heard, written) for heard, written in domain.declined_proposals}
    present = {(rule.heard.casefold(), rule.written) for rule in domain.replacements}
    found = [
        Proposal(row["heard"], row["written"], row["places"])
        for row in counted[: 5 * SHOWN]
        if (row["heard"], row["written"]) not in declined
        and (row["heard"].casefold(), row["written"]) not in present
    ]
    return found[:SHOWN]


def accept_as_replacement(*, domain: Domain, heard: str, written: str) -> None:
    """Add the proposal to the end of the domain's table. Raises ``ValidationError``."""
    services.update_domain(domain=domain, replacements=[*domain.replacements, Replacement(heard, written)])


def accept_as_keyword(*, domain: Domain, heard: str, written: str) -> None:
    """Add the corrected words to the domain's keywords and close the proposal. Raises ``ValidationError``."""
    services.add_keywords(domain=domain, keywords=[written])
    services.decline_proposal(domain=domain, heard=heard, written=written)
