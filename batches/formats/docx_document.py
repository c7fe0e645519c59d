"""Word document of a transcript, with turns, times, speakers, confidence and corrections.

A heading paragraph opens each speaker's turn. A segment that a member corrected carries a Word comment with
the recognised text; a segment of low confidence is highlighted. The document's own labels are Korean for a
Korean transcript and English for any other.

Output is reproducible: neither the archive nor the document properties contain the time of writing.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import docx
from docx.document import Document
from docx.enum.style import WD_STYLE_TYPE
from docx.enum.text import WD_COLOR_INDEX
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Pt, RGBColor
from docx.styles.style import CharacterStyle, ParagraphStyle
from docx.text.paragraph import Paragraph
from docx.text.run import Run

from batches.recognition.transcript import Segment, Transcript

from . import characters
from .context import Context
from .timestamps import hms

LOW_CONFIDENCE = 0.6  # mean word probability below which a segment is highlighted
PAUSE_MS = 2_000  # opens a turn if speakers are unknown
LONGEST_TURN = 40  # segments under one heading
_RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ps", "sd", "ur", "yi"})
_TURN_STYLE, _TIMES_STYLE = "SpeakerTurn", "TurnTimes"  # names and IDs of styles
_GREY = RGBColor(0x59, 0x59, 0x59)
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # earliest time that a ZIP archive can represent


@dataclass(frozen=True)
class _Labels:
    title: str
    task: str
    language: str
    duration: str
    speakers: str
    confidence: str
    legend: str
    recognised: str
    empty: str


_ENGLISH = _Labels(
    title="Transcript",
    task="Task",
    language="Language",
    duration="Duration",
    speakers="Speakers",
    confidence="Confidence",
    legend="Highlighted: confidence below {limit}. Comments hold the recognised text of corrected lines.",
    recognised="Recognised: {text}",
    empty="No speech was recognised.",
)
_KOREAN = _Labels(
    title="음성 인식 결과",
    task="작업",
    language="언어",
    duration="길이",
    speakers="화자",
    confidence="신뢰도",
    legend="강조 표시: 신뢰도 {limit} 미만. 메모에는 수정된 줄의 원래 인식 결과가 있습니다.",
    recognised="인식 결과: {text}",
    empty="인식된 음성이 없습니다.",
)


@dataclass(slots=True)
class _Turn:
    speaker: str
    lines: list[tuple[Segment, str, str]] = field(default_factory=list)  # segment, text, recognised text

    @property
    def confidence(self) -> float:
        """Mean confidence of the segments, weighted by their length."""
        weights = [max(1, segment.end - segment.start) for segment, *_ in self.lines]
        pairs = zip(self.lines, weights, strict=True)
        return sum(line[0].confidence * weight for line, weight in pairs) / sum(weights)


def render(transcript: Transcript, context: Context) -> bytes:
    labels = _KOREAN if transcript.language == "ko" else _ENGLISH
    document = docx.Document(io.BytesIO(_template()))
    _set_up(document, transcript.language, f"{labels.title} {context.task_id}".strip())
    document.add_heading(labels.title, level=1)
    _add_facts(document, labels, transcript, context)
    right_to_left = transcript.language in _RIGHT_TO_LEFT
    turns = list(_turns(transcript, context))
    for turn in turns:
        _add_turn(document, labels, turn, context, right_to_left=right_to_left)
    if not turns:
        document.add_paragraph(labels.empty)
    return _repacked(document)


def _turns(transcript: Transcript, context: Context) -> Iterator[_Turn]:
    """Group consecutive segments of one speaker; if speakers are unknown, segments without a pause."""
    turn: _Turn | None = None
    for index, segment in enumerate(transcript.segments):
        recognised = characters.one_line(segment.text)
        text = characters.one_line(context.text_of(index, segment.text))
        if not text and not recognised:
            continue
        if turn is None or not _continues(turn, segment):
            if turn is not None:
                yield turn
            turn = _Turn(segment.speaker)
        turn.lines.append((segment, text, recognised))
    if turn is not None:
        yield turn


def _continues(turn: _Turn, segment: Segment) -> bool:
    if segment.speaker != turn.speaker or len(turn.lines) >= LONGEST_TURN:
        return False
    return bool(segment.speaker) or segment.start - turn.lines[-1][0].end < PAUSE_MS


def _add_facts(document: Document, labels: _Labels, transcript: Transcript, context: Context) -> None:
    spoken = (segment.speaker for segment in transcript.segments if segment.speaker)
    names = [context.speaker_name(label) for label in dict.fromkeys([*transcript.speakers, *spoken])]
    facts = [
        (labels.task, characters.one_line(context.task_id)),
        (labels.language, transcript.language),
        (labels.duration, hms(max(0, transcript.duration) // 1000)),
        (labels.speakers, ", ".join(names)),
        (labels.confidence, _percent(transcript.confidence) if transcript.segments else ""),
    ]
    for name, value in facts:
        if value:
            paragraph = document.add_paragraph()
            paragraph.paragraph_format.space_after = Pt(0)
            paragraph.add_run(f"{name}: ").bold = True
            paragraph.add_run(value)
    legend = document.add_paragraph().add_run(labels.legend.format(limit=_percent(LOW_CONFIDENCE)))
    legend.italic, legend.font.color.rgb = True, _GREY


def _add_turn(
    document: Document, labels: _Labels, turn: _Turn, context: Context, *, right_to_left: bool
) -> None:
    heading = _append_paragraph(document, _TURN_STYLE)
    start, end = turn.lines[0][0].start, turn.lines[-1][0].end
    if turn.speaker:
        heading.add_run(f"{context.speaker_name(turn.speaker)}  ")
    times = f"{_time(start)} – {_time(end)}  {labels.confidence} {_percent(turn.confidence)}"
    heading.add_run(times)._r.style = _TIMES_STYLE  # noqa: SLF001
    paragraph = _append_paragraph(document)
    if right_to_left:
        paragraph._p.get_or_add_pPr().append(OxmlElement("w:bidi"))  # noqa: SLF001 - python-docx has no property
    written = ""
    for segment, text, recognised in turn.lines:
        joined = characters.join(written, text)
        run = paragraph.add_run(joined[len(written) :])
        written = joined
        if segment.confidence < LOW_CONFIDENCE:
            run.font.highlight_color = WD_COLOR_INDEX.YELLOW
        if right_to_left:
            run.font.rtl = True
        if text != recognised:
            _comment(document, paragraph, run, labels.recognised.format(text=recognised))


def _append_paragraph(document: Document, style_id: str | None = None) -> Paragraph:
    """Append a paragraph. python-docx's own method scans all paragraphs and styles each time."""
    paragraph = Paragraph(OxmlElement("w:p"), document._body)  # noqa: SLF001
    section = document.element.body[-1]  # the last element of every document
    section.addprevious(paragraph._p)  # noqa: SLF001
    if style_id:
        paragraph._p.style = style_id  # noqa: SLF001
    return paragraph


def _comment(document: Document, paragraph: Paragraph, run: Run, text: str) -> None:
    if not run.text:  # A line without text: a comment needs an anchor.
        run = paragraph.add_run("[…]")
    comment = document.add_comment(run, text=text, author="Speech Portal", initials="SP")
    element = comment._comment_elm  # noqa: SLF001 - the time of writing has no property that can be unset
    element.attrib.pop(qn("w:date"), None)


def _set_up(document: Document, language: str, title: str) -> None:
    """Set the fonts, the language for Word's spelling check, and the document properties."""
    style = document.styles["Normal"]
    properties = style.element.get_or_add_rPr()
    properties.get_or_add_rFonts().set(qn("w:eastAsia"), "Malgun Gothic")
    tag = properties.find(qn("w:lang"))
    if tag is None:
        tag = OxmlElement("w:lang")
        properties.append(tag)
    tag.set(qn("w:eastAsia" if language in {"ko", "ja", "zh", "yue"} else "w:val"), language)
    turn = cast("ParagraphStyle", document.styles.add_style(_TURN_STYLE, WD_STYLE_TYPE.PARAGRAPH))
    turn.base_style, turn.font.bold = style, True
    turn.paragraph_format.keep_with_next = True
    turn.paragraph_format.space_before, turn.paragraph_format.space_after = Pt(10), Pt(0)
    times = cast("CharacterStyle", document.styles.add_style(_TIMES_STYLE, WD_STYLE_TYPE.CHARACTER))
    times.font.bold, times.font.size, times.font.color.rgb = False, Pt(9), _GREY
    core = document.core_properties
    core.title, core.author, core.comments, core.language = title[:255], "Speech Portal", "", language


@lru_cache(maxsize=1)
def _template() -> bytes:
    """python-docx's empty document, without its creation dates."""
    document = docx.Document()
    element = document.core_properties._element  # noqa: SLF001 - dates have no property that can be unset
    for name in ("dcterms:created", "dcterms:modified"):
        for child in element.findall(qn(name)):
            element.remove(child)
    document.core_properties.last_modified_by = ""
    return _saved(document)


def _saved(document: Document) -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def _repacked(document: Document) -> bytes:
    """Repack the document's archive with a fixed timestamp for all members."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(_saved(document))) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for member in source.infolist():
            entry = zipfile.ZipInfo(member.filename, _EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, source.read(member))
    return packed.getvalue()


def _time(milliseconds: int) -> str:
    return hms(max(0, milliseconds) // 1000)


def _percent(share: float) -> str:
    return f"{round(100 * share)} %"
