"""Phantom text: detects phrases that Whisper hallucinates where there is no speech.

Whisper was trained on video subtitles, and transcribes noise, music and silence as their closing phrases. A
phrase of this list is kept only if the model is confident and there is speech during it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from batches.recognition.alignment.coverage import Region, overlap
from batches.recognition.contracts import TimedWord

# Closing phrases of videos and subtitle credits. Compared in lower case, without punctuation and spaces.
_PHRASES = frozenset(
    re.sub(r"[\W_]+", "", phrase)
    for phrase in (
        "you", "thank you", "thank you for watching", "thank you so much for watching",
        "thanks for watching", "thank you very much", "bye", "bye bye", "please subscribe",
        "subscribe to the channel", "thanks for watching and see you next time", "see you next time",
        "see you in the next video", "subtitles by the amaraorg community", "the end", "music",
        "applause", "시청해주셔서 감사합니다", "시청해 주셔서 감사합니다", "감사합니다",
        "구독과 좋아요 부탁드립니다", "다음 영상에서 만나요", "한글자막 by 한효정",
        "mbc 뉴스 이덕영입니다", "이 영상은 유료광고를 포함하고 있습니다",
        "ご視聴ありがとうございました", "ご清聴ありがとうございました", "チャンネル登録お願いします",
        "おやすみなさい", "谢谢观看", "謝謝觀看", "谢谢大家",
        "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目", "字幕由amaraorg社区提供",
        "untertitel der amaraorg community", "untertitel im auftrag des zdf 2020",
        "vielen dank fürs zuschauen", "vielen dank",
        "sous titres réalisés par la communauté damaraorg", "merci davoir regardé cette vidéo",
        "gracias por ver el video", "subtítulos realizados por la comunidad de amaraorg", "gracias",
        "sottotitoli creati dalla comunità amaraorg", "grazie per la visione", "obrigado por assistir",
        "продолжение следует", "субтитры сделал dimatorzok", "спасибо за просмотр",
    )
)  # fmt: skip
_LONGEST = max(map(len, _PHRASES))
_DOUBTFUL_NO_SPEECH = 0.2  # no-speech probability from which silence is possible
_DOUBTFUL_LOGPROB = -0.5  # mean log-probability below which the text is uncertain
_TELEPHONE_DIGITS = 4  # distinct digits from which digits count as a spoken number
_ONE_SOUND = re.compile(r"([^\W\d_]{1,4}?)\1{5,}")
_SPOKEN_SHARE = 0.3  # minimum share of speech during a phrase


def _folded(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def is_phantom(text: str, *, mean_logprob: float, no_speech_probability: float) -> bool:
    """Whether a chunk's whole text is a hallucination of which the model is not confident.

    That is a phrase of the list, perhaps repeated; one repeated sound; or, at twice the uncertainty, digits
    and signs without a word ("4-5", for the sound of an organ).
    """
    may_be_silence = no_speech_probability > _DOUBTFUL_NO_SPEECH
    is_guess = mean_logprob < _DOUBTFUL_LOGPROB
    folded = _folded(text)
    if not text or not (may_be_silence or is_guess):
        return False
    is_known = any(
        folded == phrase * (len(folded) // len(phrase)) for phrase in _PHRASES if folded.startswith(phrase)
    )
    no_word = not any(map(str.isalpha, text)) and len(set(folded)) < _TELEPHONE_DIGITS
    return is_known or _ONE_SOUND.fullmatch(folded) is not None or (no_word and may_be_silence and is_guess)


def without_closing(words: Sequence[TimedWord], speech: Sequence[Region]) -> list[TimedWord]:
    """Remove a final phrase of the list during which there is no speech."""
    text = ""
    for index in range(len(words) - 1, -1, -1):
        text = _folded(words[index].text) + text
        if len(text) > _LONGEST:
            break
        if text in _PHRASES and _spoken_share(words[index:], speech) < _SPOKEN_SHARE:
            return list(words[:index])
    return list(words)


def _spoken_share(words: Sequence[TimedWord], speech: Sequence[Region]) -> float:
    start, end = words[0].start, max(words[-1].end, words[0].start + 0.02)
    return sum(b - a for a, b in overlap(speech, start, end)) / (end - start)
