"""Words and their tokens are those of openai-whisper's tokenizer."""

import random

import pytest
from whisper.tokenizer import get_tokenizer

from batches.recognition.asr.word_tokens import split_to_word_tokens

TEXTS = {
    "en": " Well, it's 25,000 (of them) – \"really\"? don't... co-operate: naïve café 🙂 <|endoftext|>",
    "ko": " 안녕하세요, 저는 홍길동입니다. 뷁 쀍 똠방각하 2026년!",
    "zh": "你好，世界！魑魅魍魉 龘",
    "ja": "こんにちは、世界。鬱蒼と髙橋",
    "ru": " Съешь же ещё этих мягких булок, да выпей чаю.",
    "th": "สวัสดีครับ ยินดีที่ได้รู้จัก",
}


@pytest.mark.parametrize("language", TEXTS)
def test_real_texts(language: str) -> None:
    tokenizer = get_tokenizer(multilingual=True, num_languages=99, language=language, task="transcribe")
    tokens = [*tokenizer.encoding.encode(TEXTS[language], disallowed_special=()), tokenizer.eot]
    words, groups = split_to_word_tokens(tokenizer, tokens)
    assert (words, groups) == tokenizer.split_to_word_tokens(tokens)
    assert len(words) > 4


@pytest.mark.parametrize("language", ["en", "ja"])
def test_halves_of_characters_and_any_other_tokens(language: str) -> None:
    tokenizer = get_tokenizer(multilingual=True, num_languages=99, language=language, task="transcribe")
    drawn, compared = random.Random(7), 0
    for _ in range(300):
        # The first 256 tokens are single bytes, most of them no character.
        tokens = [drawn.choice([drawn.randrange(256), drawn.randrange(50_257)]) for _ in range(12)]
        words, groups = split_to_word_tokens(tokenizer, tokens)
        assert [token for group in groups for token in group] == tokens
        try:
            theirs = tokenizer.split_to_word_tokens(tokens)
        except IndexError:
            continue
        if sum(map(len, theirs[1])) == len(tokens):  # it loses some of them, too
            assert (words, groups) == theirs
            compared += 1
    assert compared > 30
    assert split_to_word_tokens(tokenizer, []) == ([], [])
