"""Detection of postal addresses in English and Korean, with numbers in figures or words.

Each pattern has a rare word (the kind of street, 동, 로, 번지) that is searched first. What is before and
after it is then matched at that place within a bounded distance, so that the time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from batches.postprocessing.detection.vocabulary import DISTRICT_STOPS, STREET_STOPS, TOWN_STOPS

_WORD = r"[A-Za-z]+(?:['’-][A-Za-z]+)?"
_S = r"[\s,]{1,3}"  # between two words of one address, also over the end of a segment
_SPOKEN = (
    "(?:zero|oh|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen"
    "|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|double"
    "|triple)"
)
_SPOKEN_NUMBER = rf"{_SPOKEN}(?:[\s-](?:and\s)?{_SPOKEN}){{0,7}}"
_NUMBER = rf"(?:[0-9]{{1,6}}(?:-[0-9]{{1,4}})?[A-Za-z]?|{_SPOKEN_NUMBER})"
_STRONG_SUFFIX = "street|avenue|ave|road|boulevard|blvd|lane|parkway|pkwy|highway|crescent|terrace"
_SUFFIX = re.compile(
    rf"\b(?:(?P<strong>{_STRONG_SUFFIX})|(?P<weak>st|rd|ln|dr|drive|court|ct|place|pl|square|sq|way|circle|close"
    r"|gardens|grove|mews|hill|row|walk|alley|broadway|trail|loop|plaza|expressway|view|green|quay|wharf|rise|vale|heights|yard))\b",
    re.IGNORECASE,
)
_UNIT_NAME = r"(?:apartment|apt\.?|unit|suite|ste\.?|flat|floor|room|number|no\.|\#)"
_UNIT_NUMBER = rf"(?:[0-9]{{1,5}}[A-Za-z]?|{_SPOKEN_NUMBER}|[A-Z])\b"
_UNIT = rf"{_UNIT_NAME}\s{{0,2}}{_UNIT_NUMBER}"
_DIRECTION = r"(?:(?:north|south|east|west|northeast|northwest|southeast|southwest|[NSEW])\b\.?)"
_ORDINAL = (
    "(?:[0-9]{1,3}(?:st|nd|rd|th)|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh"
    "|twelfth)"
)
# What is before the kind of street: unit, house number, direction, name of one to three words.
_BEFORE = re.compile(
    rf"(?:{_UNIT}{_S})?(?<![A-Za-z0-9.:$€£-])(?P<number>{_NUMBER})\s{{1,2}}(?:{_DIRECTION}\s)?"
    rf"(?P<name>(?:(?:{_ORDINAL}|{_WORD})\.?\s{{1,2}}){{1,3}})$",
    re.IGNORECASE,
)
_UNIT_BEFORE = re.compile(
    rf"{_UNIT}{_S}(?:on|at|in)\s(?P<number>)(?P<name>(?:{_WORD}\s{{1,2}}){{1,3}})$", re.IGNORECASE
)
_BEFORE_BROADWAY = re.compile(
    rf"(?<![A-Za-z0-9.:$€£-])(?P<number>{_NUMBER})\s{{1,2}}(?P<name>)$", re.IGNORECASE
)
# A street without a house number, where somebody lives or a parcel goes.
_LIVING = re.compile(
    rf"\b(?:live|lives|lived|living|located|address\sis|moved|deliver|ship|send)"
    rf"(?:\s(?:it|them|that|this))?\s(?:on|at|to|in)?\s?(?P<name>(?:{_WORD}\s){{1,3}})$",
    re.IGNORECASE,
)
_STATES = (
    "Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia|Hawaii|Idaho|Illinois"
    "|Indiana|Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri"
    "|Montana|Nebraska|Nevada|New\\sHampshire|New\\sJersey|New\\sMexico|New\\sYork|North\\sCarolina|North\\sDakota"
    "|Ohio|Oklahoma|Oregon|Pennsylvania|Rhode\\sIsland|South\\sCarolina|South\\sDakota|Tennessee|Texas|Utah|Vermont"
    "|Virginia|Washington|West\\sVirginia|Wisconsin|Wyoming"
)
_STATE = rf"(?:{_STATES}|[A-Z]{{2}}\b|England|Scotland|Wales)"
_UK_POSTCODE = r"[A-Z]{1,2}[0-9][A-Z0-9]?\s?[0-9][A-Z]{2}\b"
_CODE = rf"(?:[0-9]{{5}}(?:-[0-9]{{4}})?\b|{_UK_POSTCODE}|{_SPOKEN}(?:\s{_SPOKEN}){{4}})"
_CITY = r"(?:[A-Z][a-z]{1,20}(?:[\s-][A-Z][a-z]{1,20}){0,2})"
_TAIL_UNIT = re.compile(rf"\.?[\s,]{{1,3}}(?:{_DIRECTION}[\s,]{{1,2}})?{_UNIT}", re.IGNORECASE)
# City with state or code, or a city at the end of a clause.
_TAIL_CITY = re.compile(
    rf"\.?[\s,]{{1,3}}(?:in\s)?(?:{_CITY}(?:,?\s{{1,2}}{_STATE})?,?\s{{1,2}}{_CODE}|{_CITY},?\s{{1,2}}{_STATE}(?![A-Za-z])"
    rf"|{_STATE}\s{_CODE}|{_CODE})"
)
_TAIL_TOWN = re.compile(rf"(?:,\s{{1,2}}|\sin\s|\n\s?){_CITY}(?=\s?(?:[.,;!?\n]|$))")
_PO_BOX = re.compile(rf"\bP\.?\s?O\.?\sBox\s{_NUMBER}\b", re.IGNORECASE)
_ZIP = re.compile(
    rf"\b(?:zip|postal|post)\s?code(?:\sis|'s|:|,)?\s{{1,2}}(?P<code>[0-9]{{5}}(?:-[0-9]{{4}})?\b|{_SPOKEN}(?:\s{_SPOKEN}){{3,6}})",
    re.IGNORECASE,
)
_POSTCODE = re.compile(rf"\b{_UK_POSTCODE}")
_YEAR = re.compile(r"(?:in|since|of|by|until|from|shares\son)\s$", re.IGNORECASE)
_REACH = 90

# --- Korean

_KO_SPOKEN = "[공영일이삼사오육륙칠팔구십백천]{1,8}"
_KO_NUMBER = rf"(?:[0-9]{{1,5}}|{_KO_SPOKEN})"
_LOT = rf"{_KO_NUMBER}(?:\s?(?:-|다시|의|대시)\s?{_KO_NUMBER})?(?:\s?번지)?"
_PROVINCE = (
    "(?:서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충북|충남|전북|전남|경북|경남|제주|충청북|충청남|전라북|전라남"
    "|경상북|경상남)"
    "(?:특별자치시|특별자치도|특별시|광역시|시|도)?"
    "|(?:분당|일산|판교|동탄|김포|수원|성남|용인|안양|안산|고양|부천|평택|의정부|남양주|파주|광명|군포|하남|청주|천안|전주|익산"
    "|군산|목포|여수|순천|포항|구미|경주|안동|창원|마산|진해|김해|진주|양산|거제|통영|춘천|원주|강릉|속초)(?:시)?"
)
_DISTRICT = "[가-힣]{1,4}(?:시|군|구)"
_TOWN = "[가-힣]{1,5}[0-9]{0,2}(?:읍|면|동|리|가)"
# What may follow a number of an address in the same word; counters, such as 개, may not.
_END = (
    "(?=(?:입니다|입니까|이에요|예요|이예요|이세요|세요|이요|요|이고요?|고요?|이라고|라고|인데요?|거든요|이거든요|맞|이[죠지]|으로|로|에"
    "|에서|에는|은|는|이|가|을|를|까지|이시|시[죠고])?[요]?(?![가-힣0-9]))"
)
_COMPLEX = (
    "[가-힣A-Za-z0-9]{0,10}(?:아파트|빌라|오피스텔|빌딩|타워|맨션|주공|하이츠|팰리스|자이|래미안"
    "|푸르지오|힐스테이트|캐슬|세상|마을|단지|신도시)"
)
_AREA = re.compile(
    rf"(?<![가-힣])(?:(?P<province>{_PROVINCE})[\s,]{{1,2}})?(?P<districts>(?:{_DISTRICT}[\s,]{{1,2}}){{0,3}})"
    rf"(?P<town>(?:{_TOWN}[\s,]{{1,2}}){{0,2}})$"
)
_ENDS = re.compile(_END)
# Anchors: a road with a number, a lot number after a town, a unit of a building.
_ROAD = re.compile(
    rf"(?<![가-힣0-9])[가-힣]{{1,8}}[0-9]{{0,3}}(?:대로|로|길)\s?(?:{_KO_NUMBER}\s?(?:가길|나길|다길|번길|길)\s?)?"
    rf"(?P<number>{_LOT})"
)
_LOTS = re.compile(rf"(?<![가-힣0-9])(?P<town>{_TOWN})\s{{1,2}}(?P<lot>{_LOT}){_END}")
_UNITS = re.compile(
    rf"(?<![가-힣0-9])(?P<complex>(?:{_COMPLEX}[\s,]{{1,2}}){{0,3}})(?P<block>{_KO_NUMBER}\s?동에?\s{{0,2}})?"
    rf"(?:{_KO_NUMBER}\s?층\s{{0,2}})?{_KO_NUMBER}\s?호(?![기선차점])"
)
_UNIT_TAIL = re.compile(
    rf"[\s,]{{1,3}}(?:{_COMPLEX}[\s,]{{1,2}}){{0,2}}(?:{_KO_NUMBER}\s?동에?\s{{0,2}})?(?:{_KO_NUMBER}\s?층\s{{0,2}})?{_KO_NUMBER}\s?호"
)
_TOWN_ALONE = re.compile(
    r"(?<![가-힣])[가-힣]{1,5}[0-9]{0,2}(?:읍|면|동)(?=(?:에|에서|이에요|예요|입니다|이요|이고요?|으로)?(?![가-힣]))"
)
_ZIP_KO = re.compile(
    r"우편\s?번호[은는이가]?[\s,:]{1,2}(?P<code>[0-9]{5}(?![0-9])|[공영일이삼사오육륙칠팔구]{5})"
)
_LIVING_KO = re.compile(r"주소|우편\s?번호|배송지|도로명|사는\s?곳|거주|살|집[은이]")
_ROAD_STOPS = re.compile(
    "(?:그|이|제|마음|뜻|말|법|맘|으|걸|건|새|바|별|따|서|주|스스|대체|실제|때|절대|앞|뒤|위|아래)(?:대로|로|길)"
)


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of addresses; they may overlap."""
    yield from _english(text)
    yield from _korean(text)


def _english(text: str) -> Iterator[tuple[int, int]]:
    for match in _SUFFIX.finditer(text):
        if (start := _street_start(text, match)) is not None:
            yield start, _tail(text, match.end())
    for match in _PO_BOX.finditer(text):
        yield match.start(), _tail(text, match.end())
    for match in _ZIP.finditer(text):
        yield match.span("code")
    for match in _POSTCODE.finditer(text):
        yield match.span()


def _street_start(text: str, suffix: re.Match[str]) -> int | None:
    """Start of the address whose kind of street is ``suffix``, or ``None`` if it is none."""
    if suffix[0].lower() == "broadway":
        pattern: re.Pattern[str] = _BEFORE_BROADWAY
    else:
        pattern = _BEFORE
    first = max(0, suffix.start() - _REACH)
    before = text[first : suffix.start()]
    found = _UNIT_BEFORE.search(before) or pattern.search(before)
    numbered = found is not None
    found = found or (_LIVING.search(before) if suffix["strong"] else None)
    if found is None:
        return None
    name = found["name"].split()
    if name != ["The"] and any(word.lower().strip(".") in STREET_STOPS for word in name):
        return None
    written = bool(name) and all(word[0].isupper() or word[0].isdigit() for word in name)
    if (suffix["weak"] or not numbered) and not (written and suffix[0][0].isupper()) and name:
        return None
    if not numbered:
        return first + found.start("name")
    if re.fullmatch("(?:19|20)[0-9]{2}", found["number"]) and _YEAR.search(before, 0, found.start("number")):
        return None
    return first + found.start()


def _tail(text: str, end: int) -> int:
    """End of an address whose street ends at ``end``: direction, unit, city, state and code follow it."""
    stop = end + _REACH + 60
    for _again in range(2):
        if unit := _TAIL_UNIT.match(text, end, stop):
            end = unit.end()
    city = _TAIL_CITY.match(text, end, stop) or _TAIL_TOWN.match(text, end, stop)
    if city:
        end = city.end()
        if code := _TAIL_CITY.match(text, end, stop):
            end = code.end()
    return end


def _korean(text: str) -> Iterator[tuple[int, int]]:
    for match in _ROAD.finditer(text):
        if not _ROAD_STOPS.match(match[0]) and (span := _road(text, match)):
            yield span
    for match in _LOTS.finditer(text):
        if match["town"] not in TOWN_STOPS and (span := _lot(text, match)):
            yield span
    for match in _UNITS.finditer(text):
        if match["block"] or match["complex"]:
            yield _area(text, match.start(), towns=True)[0], match.end()
    for match in _TOWN_ALONE.finditer(text):
        start, levels = _area(text, match.start())
        if levels > 1 and match[0] not in TOWN_STOPS:
            yield start, match.end()
    for match in _ZIP_KO.finditer(text):
        yield match.span("code")


def _road(text: str, match: re.Match[str]) -> tuple[int, int] | None:
    """Span of an address with a road and a number, in a district, with a unit, or where somebody lives."""
    start, levels = _area(text, match.start())
    end = _unit_end(text, match.end("number"))
    has_unit = end > match.end("number")
    if not has_unit and not _ENDS.match(text, end):
        return None
    return (start, end) if levels or has_unit or _is_lived_in(text, match.start()) else None


def _lot(text: str, match: re.Match[str]) -> tuple[int, int] | None:
    """Span of an address with a town and a lot number, in a district, with 번지, or where somebody lives."""
    start, levels = _area(text, match.start())
    known = levels or match["lot"].endswith("번지") or _is_lived_in(text, match.start())
    return (start, _unit_end(text, match.end("lot"))) if known and len(match["lot"]) > 1 else None


def _is_lived_in(text: str, start: int) -> bool:
    return _LIVING_KO.search(text, max(0, start - 25), start) is not None


def _unit_end(text: str, end: int) -> int:
    unit = _UNIT_TAIL.match(text, end, end + _REACH)
    return unit.end() if unit else end


def _area(text: str, at: int, *, towns: bool = False) -> tuple[int, int]:
    """Start of the province, districts and towns that end at ``at``, and how many districts there are.

    ``towns``: a town alone is enough.
    """
    first = max(0, at - 60)
    found = _AREA.search(text[first:at])
    if not found:
        return at, 0
    districts = found["districts"].replace(",", " ").split()
    if not found["province"] and not [each for each in districts if each not in DISTRICT_STOPS]:
        town = found["town"].split()
        is_town = towns and town and town[0] not in TOWN_STOPS
        return (first + found.start("town") if is_town else at), 0
    return first + found.start(), len(districts) + bool(found["province"])
