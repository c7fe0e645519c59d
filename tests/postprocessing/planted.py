"""Sensitive data planted in a conversation: numbers in every notation, a name and an address."""

from __future__ import annotations

from batches.recognition.transcript import Segment, Transcript, Word

KOREAN = [
    ("1", "전화번호를 말씀해 주세요"),
    ("2", "공일공 이삼사오"),
    ("1", "네"),
    ("2", "육칠팔구예요"),
    ("2", "카드번호는 4012 8888 8888 1881이고요"),
    ("2", "주민번호는 900215-1234568 이메일은 planted@secret-mail.com 입니다"),
    ("2", "네이버 클로버 주문번호는 774411 입니다"),
    ("1", "성함이 어떻게 되세요?"),
    ("2", "박서연이고 주소는 서울시 강남구"),
    ("2", "테헤란로 백오십이예요"),
]
ENGLISH = [
    ("1", "May I have your phone number?"),
    ("2", "It is two one two, five five five,"),
    ("1", "Yes."),
    ("2", "zero one nine nine."),
    (
        "2",
        "My card: four zero one two double eight double eight double eight double eight one eight eight one.",
    ),
    ("2", "My bank account number is 5566778899"),
    ("2", "and my mail is planted at secret-mail dot com."),
    ("2", "The order number is 774411."),
    ("2", "My name is Sarah"),
    ("2", "Thornbury and I live at twenty-two Baker Street, London."),
]
# What must be nowhere, in any exit; digits are compared without spaces and hyphens.
SECRETS = {
    "ko": [
        "공일공",
        "이삼사오",
        "육칠팔구",
        "4012888888881881",
        "9002151234568",
        "planted",
        "secretmail",
        "박서연",
        "강남구",
        "테헤란로",
        "백오십이",
    ],
    "en": [
        "twoonetwo",
        "onenine",
        "fourzeroonetwo",
        "doubleeight",
        "5566778899",
        "planted",
        "secretmail",
        "sarah",
        "thornbury",
        "bakerstreet",
    ],
}
KEPT = "774411"  # an order number, which is no secret
CONVERSATIONS = {"ko": KOREAN, "en": ENGLISH}


def squeezed(text: str) -> str:
    """Text without the characters that may separate the digits of a number."""
    return "".join(letter for letter in text if letter.isalnum()).lower()


def leaks(text: str, language: str) -> list[str]:
    """Planted secrets that a text contains."""
    whole = squeezed(text)
    return [secret for secret in SECRETS[language] if squeezed(secret) in whole]


def transcript(language: str) -> Transcript:
    """Transcript of the conversation, as a recogniser returns it; each word takes 400 ms."""
    segments, at = [], 0
    for speaker, text in CONVERSATIONS[language]:
        start, words = at, []
        for word in text.split():
            words.append(Word(at, at + 400, f" {word}", 0.9, speaker))
            at += 400
        segments.append(Segment(start, at, text, words, 0.9, speaker))
    return Transcript(language, 0.99, at, segments, speakers=["1", "2"], speech_duration=at)
