"""Language codes of CLOVA Speech and of Whisper."""

from __future__ import annotations

# Whisper's codes, in its order. Kept here because importing them from openai-whisper imports torch.
WHISPER = (
    "en", "zh", "de", "es", "ru", "ko", "fr", "ja", "pt", "tr", "pl", "ca", "nl", "ar", "sv", "it",
    "id", "hi", "fi", "vi", "he", "uk", "el", "ms", "cs", "ro", "da", "hu", "ta", "no", "th", "ur",
    "hr", "bg", "lt", "la", "mi", "ml", "cy", "sk", "te", "fa", "lv", "bn", "sr", "az", "sl", "kn",
    "et", "mk", "br", "eu", "is", "hy", "ne", "mn", "bs", "kk", "sq", "sw", "gl", "mr", "pa", "si",
    "km", "sn", "yo", "so", "af", "oc", "ka", "be", "tg", "sd", "gu", "am", "yi", "lo", "uz", "fo",
    "ht", "ps", "tk", "nn", "mt", "sa", "lb", "my", "bo", "tl", "mg", "as", "tt", "haw", "ln", "ha",
    "ba", "jw", "su", "yue",
)  # fmt: skip
AUTO = "auto"
MIXED_KOREAN_ENGLISH = "enko"
CLOVA = {
    "ko-kr": ("ko",),
    "en-us": ("en",),
    MIXED_KOREAN_ENGLISH: ("ko", "en"),
    "ja": ("ja",),
    "zh-cn": ("zh",),
    "zh-tw": ("zh",),
}


class UnknownLanguageError(ValueError):
    """The code is neither one of CLOVA's nor one of Whisper's."""


def candidates(code: str) -> tuple[str, ...]:
    """Whisper's codes for a language code; none for "auto". Case-insensitive.

    Raises UnknownLanguageError.
    """
    folded = code.strip().lower().replace("_", "-")
    if folded == AUTO:
        return ()
    if folded in CLOVA:
        return CLOVA[folded]
    if folded in WHISPER:
        return (folded,)
    if (short := folded.split("-")[0]) in WHISPER:
        return (short,)
    raise UnknownLanguageError(f"Unknown language '{code}'.")


def codes() -> list[str]:
    """All valid language codes: "auto", CLOVA's own and Whisper's."""
    return [AUTO, "ko-KR", "en-US", MIXED_KOREAN_ENGLISH, "ja", "zh-cn", "zh-tw", *sorted(WHISPER)]
