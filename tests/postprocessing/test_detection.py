"""Sensitive data is found written and spoken, in Korean and English, and decoys are left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.postprocessing.detection import find


@pytest.mark.parametrize(
    ("text", "kind", "parts"),
    [
        (
            "제 번호는 공일공 다시 일이삼사 다시 오육칠팔이에요",
            "phone",
            ["공일공 다시 일이삼사 다시 오육칠팔"],
        ),
        ("전화는 공일공 하나둘셋넷 오육칠팔", "phone", ["공일공 하나둘셋넷 오육칠팔"]),
        ("call me at two one two five five five zero one nine nine", "phone", None),
        ("카드 4111 1111 1111 1111 맞죠", "card", ["4111 1111 1111 1111"]),
        (
            "four one double one one one one one one one one one triple one one",
            "card",
            None,
        ),
        ("주민번호 900215에 1234568", "resident", None),
        ("사업자등록번호는 120-81-47521입니다", "business", ["120-81-47521"]),
        ("여권번호는 M12345678", "passport", ["M12345678"]),
        ("운전면허 번호 11-22-333333-44", "licence", ["11-22-333333-44"]),
        ("국민은행 계좌 123456-78-901234로 보내 주세요", "account", ["123456-78-901234"]),
        ("메일은 hong.gildong@example.com이에요", "email", None),
        ("my email is john dot smith at gmail dot com", "email", ["john dot smith at gmail dot com"]),
        ("생년월일은 천구백팔십년 삼월 오일입니다", "birth", ["천구백팔십년 삼월 오일"]),
        ("I was born on March fifth nineteen eighty five", "birth", ["March fifth nineteen eighty five"]),
    ],
)
def test_found(text: str, kind: str, parts: list[str] | None) -> None:
    (finding,) = find(text)
    assert finding.kind == kind
    found = [text[start:end] for start, end in finding.parts]
    assert found == parts if parts is not None else all(found)


@pytest.mark.parametrize(
    "text",
    [
        "주문번호는 20261126 0001 입니다",
        "가격은 1,234,567원이고 배송은 2026년 3월 5일이에요",
        "오늘 이 사람이 오면 이사 이야기를 하고 일이 많아요",
        "my order number is 1234567890",
        "tracking number 9400 1000 0000 0000 0000 00",
        "one or two of the three items came, four did not",
        "회의는 12:30에 시작해서 14:00에 끝나요",
    ],
)
def test_decoys_are_left_alone(text: str) -> None:
    assert find(text) == []


@given(st.text(alphabet="공일이삼사오육칠팔구 네-01234567890\nabcone two@.,dotat", max_size=120))
def test_findings_lie_in_the_text_and_do_not_overlap(text: str) -> None:
    end = 0
    for start, stop in sorted(part for finding in find(text) for part in finding.parts):
        assert end <= start < stop <= len(text)
        assert "\n" not in text[start:stop]
        end = stop
