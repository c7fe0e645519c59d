"""Languages of a batch: CLOVA Speech's codes, Whisper's other languages, and automatic detection."""

from __future__ import annotations

from django.utils import translation
from django.utils.translation import gettext_lazy as _

DEFAULT = "ko-KR"
AUTO = "auto"

CLOVA = [
    ("ko-KR", _("Korean")),
    ("en-US", _("English")),
    ("enko", _("Korean and English, mixed")),
    ("ja", _("Japanese")),
    ("zh-cn", _("Chinese, simplified")),
    ("zh-tw", _("Chinese, traditional")),
]

# openai-whisper 20250625, whisper.tokenizer.LANGUAGES, less those above.
OTHERS = [
    ("af", _("Afrikaans")),
    ("am", _("Amharic")),
    ("ar", _("Arabic")),
    ("as", _("Assamese")),
    ("az", _("Azerbaijani")),
    ("ba", _("Bashkir")),
    ("be", _("Belarusian")),
    ("bg", _("Bulgarian")),
    ("bn", _("Bengali")),
    ("bo", _("Tibetan")),
    ("br", _("Breton")),
    ("bs", _("Bosnian")),
    ("ca", _("Catalan")),
    ("cs", _("Czech")),
    ("cy", _("Welsh")),
    ("da", _("Danish")),
    ("de", _("German")),
    ("el", _("Greek")),
    ("es", _("Spanish")),
    ("et", _("Estonian")),
    ("eu", _("Basque")),
    ("fa", _("Persian")),
    ("fi", _("Finnish")),
    ("fo", _("Faroese")),
    ("fr", _("French")),
    ("gl", _("Galician")),
    ("gu", _("Gujarati")),
    ("ha", _("Hausa")),
    ("haw", _("Hawaiian")),
    ("he", _("Hebrew")),
    ("hi", _("Hindi")),
    ("hr", _("Croatian")),
    ("ht", _("Haitian Creole")),
    ("hu", _("Hungarian")),
    ("hy", _("Armenian")),
    ("id", _("Indonesian")),
    ("is", _("Icelandic")),
    ("it", _("Italian")),
    ("jw", _("Javanese")),
    ("ka", _("Georgian")),
    ("kk", _("Kazakh")),
    ("km", _("Khmer")),
    ("kn", _("Kannada")),
    ("la", _("Latin")),
    ("lb", _("Luxembourgish")),
    ("ln", _("Lingala")),
    ("lo", _("Lao")),
    ("lt", _("Lithuanian")),
    ("lv", _("Latvian")),
    ("mg", _("Malagasy")),
    ("mi", _("Maori")),
    ("mk", _("Macedonian")),
    ("ml", _("Malayalam")),
    ("mn", _("Mongolian")),
    ("mr", _("Marathi")),
    ("ms", _("Malay")),
    ("mt", _("Maltese")),
    ("my", _("Burmese")),
    ("ne", _("Nepali")),
    ("nl", _("Dutch")),
    ("nn", _("Norwegian Nynorsk")),
    ("no", _("Norwegian")),
    ("oc", _("Occitan")),
    ("pa", _("Punjabi")),
    ("pl", _("Polish")),
    ("ps", _("Pashto")),
    ("pt", _("Portuguese")),
    ("ro", _("Romanian")),
    ("ru", _("Russian")),
    ("sa", _("Sanskrit")),
    ("sd", _("Sindhi")),
    ("si", _("Sinhala")),
    ("sk", _("Slovak")),
    ("sl", _("Slovenian")),
    ("sn", _("Shona")),
    ("so", _("Somali")),
    ("sq", _("Albanian")),
    ("sr", _("Serbian")),
    ("su", _("Sundanese")),
    ("sv", _("Swedish")),
    ("sw", _("Swahili")),
    ("ta", _("Tamil")),
    ("te", _("Telugu")),
    ("tg", _("Tajik")),
    ("th", _("Thai")),
    ("tk", _("Turkmen")),
    ("tl", _("Tagalog")),
    ("tr", _("Turkish")),
    ("tt", _("Tatar")),
    ("uk", _("Ukrainian")),
    ("ur", _("Urdu")),
    ("uz", _("Uzbek")),
    ("vi", _("Vietnamese")),
    ("yi", _("Yiddish")),
    ("yo", _("Yoruba")),
    ("yue", _("Cantonese")),
]

# Choices of a form: rarely used languages are in a separate group.
GROUPED = [*CLOVA, (AUTO, _("Detect automatically")), (_("Other languages"), OTHERS)]

# Other spellings that clients send, in lower case.
ALIASES = {
    "ko": "ko-KR",
    "kor": "ko-KR",
    "en": "en-US",
    "eng": "en-US",
    "jpn": "ja",
    "zh": "zh-cn",
    "chn": "zh-cn",
    "zh-hans": "zh-cn",
    "zh-hant": "zh-tw",
    "zh-hk": "zh-tw",
}
_CODES = {code.lower(): code for code, _label in [*CLOVA, (AUTO, ""), *OTHERS]}


def find(code: str) -> str | None:
    """Find a language by its code in any spelling: ``ko``, ``ja-JP``, ``zh_TW``, in any case."""
    folded = code.strip().lower().replace("_", "-")
    for each in (folded, folded.partition("-")[0]):
        if found := _CODES.get(each) or ALIASES.get(each):
            return found
    return None


def english_name(whisper_code: str) -> str:
    """English name of a language in lower case, such as ``korean``; the code if it has no name."""
    label = _LABELS.get(find(whisper_code) or "")
    if label is None:
        return whisper_code
    with translation.override("en"):
        return str(label).partition(",")[0].lower()


_LABELS = dict([*CLOVA, *OTHERS])
