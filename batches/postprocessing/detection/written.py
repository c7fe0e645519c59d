"""Patterns of data other than digit runs: e-mail addresses, birth dates, passports, licences, IBANs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from batches.postprocessing.detection.context import Contexts
from batches.postprocessing.detection.numbers import is_iban
from batches.postprocessing.detection.vocabulary import ADDRESS_STOP_WORDS, OTHER

Span = tuple[str, int, int]  # kind, start, end

_EMAIL = re.compile(r"[A-Za-z0-9._%+\-가-힣]{1,64}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,4}")
# "min su kim at example dot com", "홍길동 골뱅이 네이버 닷컴": local part, at, domain, dot, ending.
_AT = r"(?:\bat\b|골뱅이|앳|@)"
_DOT = r"(?:\bdot\b|\bpoint\b|닷|점|쩜|\.)"
_ENDING = r"(?:com|net|org|edu|gov|info|io|co|kr|uk|us|컴|넷|오알지|씨오|케이알|코|커)"
_LINK = (
    r"(?:\bdot\b|\bunderscore\b|\bdash\b|\bhyphen\b|\bplus\b|닷|점|쩜|언더바|언더스코어|대시|하이픈|[._\-])"
)
_WORD = r"[A-Za-z0-9가-힣]{1,40}"
_HOST = r"[A-Za-z0-9가-힣\-]{1,40}"
_SPOKEN_DOMAIN = re.compile(
    # "(?<!...)": tried once for a run of spaces, not at each of them.
    rf"(?<![^\S\n])[^\S\n]*{_AT}\s*(?:{_HOST}\s*){{1,3}}?(?:(?:{_DOT}\s*{_ENDING})(?:\s*{_DOT}\s*{_ENDING})?|닷컴|닷넷|쩜컴|점컴)"
    r"(?![A-Za-z])",
    re.IGNORECASE,
)
_LOCAL = re.compile(rf"(?:{_WORD}\s*{_LINK}\s*){{0,4}}{_WORD}\s*$", re.IGNORECASE)
_PIECE = re.compile(
    r"(?<![A-Za-z0-9가-힣])(?:(?:[A-Za-z]|[0-9]+|zero|oh|one|two|three|four|five|six|seven|eight|nine"
    r"|double|triple|에이|비|씨|디|이|에프|지|에이치|아이|제이|케이|엘|엠|엔|오|피|큐|알|에스|티|유"
    r"|브이|더블유|엑스|와이|제트"
    r"|[공영일이삼사오육칠팔구]+)[\s,]+){1,24}$",
    re.IGNORECASE,
)
# Words before an address that are not part of it.
_STOP = frozenset(ADDRESS_STOP_WORDS)

_NUMBER = r"(?:[0-9]{1,4}|[공영일이삼사오육륙칠팔구십백천]{1,8})"
_MONTH_KO = rf"(?:{_NUMBER}\s*월|유월|시월)"
_DATE_KO = rf"(?:{_NUMBER}\s*년\s*(?:생\s*)?)?{_MONTH_KO}\s*{_NUMBER}\s*일"
_MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    "|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_DAY = (
    "(?:[0-9]{1,2}(?:st|nd|rd|th)?|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh"
    "|twelfth|(?:thir|four|fif|six|seven|eigh|nine)teenth|twentieth|thirtieth"
    "|(?:twenty|thirty)[- ](?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth))"
)
_UNIT = (
    "(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    "|(?:thir|four|fif|six|seven|eigh|nine)teen)"
)
_TENS = "(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
_YEAR = (
    rf"(?:[0-9]{{4}}|'?[0-9]{{2}}\b|two thousand(?: and)?(?: {_UNIT})?"
    rf"|(?:(?:nineteen|twenty|eighteen)\s+)?(?:{_TENS}(?:[- ]{_UNIT})?|oh[- ]{_UNIT}|hundred|{_UNIT}))"
)
_DAY_MONTH = rf"{_MONTH}\.?\s+(?:the\s+)?{_DAY}|(?:the\s+)?{_DAY}\s+(?:day\s+)?(?:of\s+)?{_MONTH}"
_DATE_EN = rf"\b(?:{_DAY_MONTH})\b(?:,?\s+(?:of\s+|in\s+)?{_YEAR})?"
_PART = r"\s?[-./]\s?[0-9]{1,2}"
_DATE_PLAIN = rf"\b(?:[0-9]{{4}}{_PART}{_PART}|[0-9]{{1,2}}{_PART}\s?[-./]\s?(?:[0-9]{{4}}|[0-9]{{2}}))\b"
_DATE = re.compile(f"{_DATE_KO}|{_DATE_EN}|{_DATE_PLAIN}", re.IGNORECASE)

_NOT_WITHIN, _NOT_BEFORE = "(?<![A-Za-z0-9])", "(?![A-Za-z0-9])"
_PASSPORT = re.compile(rf"{_NOT_WITHIN}[A-Za-z]\s?-?[0-9]{{3}}(?:[A-Za-z][0-9]{{4}}|[0-9]{{5}}){_NOT_BEFORE}")
_KOREAN_PASSPORT = re.compile(r"[MSROD]\s?(?:[0-9]{8}|[0-9]{3}[A-Z][0-9]{4})", re.IGNORECASE)
_UK_LICENCE = re.compile(
    rf"{_NOT_WITHIN}[A-Za-z9]{{5}}\s?[0-9]{{6}}\s?[A-Za-z9]{{2}}\s?[0-9][A-Za-z]{{2}}{_NOT_BEFORE}"
)
_REGION = "서울|부산|경기|강원|충북|충남|전북|전남|경북|경남|제주|대구|인천|광주|대전|울산"
_OLD_LICENCE = re.compile(rf"(?:{_REGION})\s?[0-9]{{2}}[- ]?[0-9]{{6}}[- ]?[0-9]{{2}}(?![0-9])")
_LICENCE = re.compile(
    rf"{_NOT_WITHIN}[A-Za-z]{{1,2}}[- ]?[0-9]{{3}}[- ]?[0-9]{{3,4}}(?:[- ]?[0-9]{{1,6}})?{_NOT_BEFORE}"
)
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?:\s?[A-Z0-9]{4}){2,7}(?:\s?[A-Z0-9]{1,3})?(?![A-Za-z0-9])"
)


def spans(text: str, contexts: Contexts) -> Iterator[Span]:
    """Spans that the patterns match; those of different patterns may overlap."""
    yield from _emails(text)
    yield from _papers(text, contexts)
    for match in _DATE.finditer(text):
        if contexts.at(match.start(), match.end()) == "birth" or text[match.end() : match.end() + 1] == "생":
            yield "birth", match.start(), match.end()
    for match in _IBAN.finditer(text):
        if is_iban(match[0]):
            yield "account", match.start(), match.end()


def _papers(text: str, contexts: Contexts) -> Iterator[Span]:
    """Numbers of passports and driving licences that contain letters."""
    for match in _PASSPORT.finditer(text):
        context = contexts.at(match.start(), match.end())
        if context == "passport" or (context != OTHER and _KOREAN_PASSPORT.fullmatch(match[0])):
            yield "licence" if context == "licence" else "passport", match.start(), match.end()
    for pattern in (_UK_LICENCE, _OLD_LICENCE):
        yield from (("licence", match.start(), match.end()) for match in pattern.finditer(text))
    for match in _LICENCE.finditer(text):
        if contexts.at(match.start(), match.end()) == "licence":
            yield "licence", match.start(), match.end()


def _emails(text: str) -> Iterator[Span]:
    for match in _EMAIL.finditer(text):
        yield "email", match.start(), match.end()
    for match in _SPOKEN_DOMAIN.finditer(text):
        start = _local_start(text, match.start())
        if start < match.start():
            yield "email", start, match.end()


def _local_start(text: str, at: int) -> int:
    """Start of the local part, ending at ``at``, of a spoken e-mail address."""
    line = max(text.rfind("\n", 0, at) + 1, at - 200)
    before = text[line:at]
    start = at
    if local := _LOCAL.search(before):
        start = line + local.start()
        words = list(re.finditer(r"\S+", text[start:at]))
        while len(words) > 1 and words[0][0].lower() in _STOP:
            words.pop(0)
        start += words[0].start() if words else 0
    if spelt := _PIECE.search(text[line:start]):
        start = line + spelt.start()
    return start
