"""English number words, and context words that indicate the kind of a number."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _numbered(words: str, first: int = 0, step: int = 1) -> dict[str, int]:
    return {word: first + step * place for place, word in enumerate(words.split())}


VALUES = _numbered(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen"
)
TENS = _numbered("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10)
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
DIGITS = {word: str(value) for word, value in VALUES.items() if value < 10} | {"oh": "0", "o": "0"}
CODE_DIGITS = DIGITS
TIMES = {"double": 2, "triple": 3, "treble": 3}
ORDINALS = {
    **_numbered("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth", 1),
    **_numbered("thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth", 13),
    **_numbered(
        "twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth hundredth", 20, 10
    ),
}
MONTHS = _words(
    """
    january february march april may june july august september october november december
    """
)
YEAR_WORDS = _words("in since of year until till by from during before after around circa summer")
TIME_WORDS = _words("at by until till around about from to before after between")
# Words before a small number that is a label ("page three").
LABELS = _words(
    """
    page chapter room extension version level step gate flight highway route channel grade figure section
    line unit platform terminal building apartment suite lesson episode season phase option appendix
    """
)
# Units before which even small numbers are written in digits.
UNITS = _words(
    """
    percent dollar dollars cent cents euro euros buck bucks pound pounds yen
    second seconds minute minutes hour hours day days week weeks month months year years o'clock
    degree degrees meter meters metre metres kilometer kilometers kilometre kilometres mile miles inch inches
    foot feet yard yards centimeter centimeters centimetre centimetres millimeter millimeters
    gram grams kilogram kilograms kilo kilos ton tons tonne tonnes ounce ounces
    liter liters litre litres gallon gallons milliliter milliliters
    people persons items pieces copies units times points stars pages boxes bottles cups tickets rooms
    megabyte megabytes gigabyte gigabytes kilobyte kilobytes watt watts volt volts hertz megahertz gigahertz
    """
)
# Units with which even "one" is a measurement; "one day" and "one minute" often are not.
UNITS_OF_ONE = _words(
    """
    percent dollar cent euro hour o'clock meter metre kilometer kilometre mile inch kilogram kilo gram liter
    litre gallon gigabyte megabyte degree
    """
)
