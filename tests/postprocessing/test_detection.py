"""Sensitive data is found written and spoken, in Korean and English, and decoys are left alone."""

from __future__ import annotations

import re
import time
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.postprocessing.detection import addresses, english_names, find, korean_names
from tests.repository.test_regular_expressions import competing


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
    ("text", "kind", "parts"),
    [
        ("Good morning, this is Sarah Miller speaking.", "name", ["Sarah Miller"]),
        ("My surname is Nakamura, N-A-K-A-M-U-R-A.", "name", ["Nakamura", "N-A-K-A-M-U-R-A"]),
        ("I met Mr. and Mrs. Novak and Sarah's son.", "name", ["Mr. and Mrs. Novak", "Sarah"]),
        ("my name is david johnson and i need help", "name", ["david johnson"]),
        ("Will you tell Will Turner about May?", "name", ["Will Turner"]),
        ("It is Olivia\nHartmann.", "name", ["Olivia", "Hartmann"]),
        ("My boss Kowalczyk is out. Kowalczyk is ill.", "name", ["Kowalczyk", "Kowalczyk"]),
        ("성함이 어떻게 되세요?\n정우성이요", "name", ["정우성"]),
        ("May I have your name, please?\nUmberta Wojcik.", "name", ["Umberta Wojcik"]),
        ("name\n홍길동", "name", ["홍길동"]),
        ("저는 김민수라고 합니다", "name", ["김민수"]),
        ("김 과장님하고 박서연 고객님, 지은 씨", "name", ["김 과장", "박서연", "지은"]),
        ("수진이가 남궁민 선생님한테 전화했어요", "name", ["수진이", "남궁민"]),
        ("I live at 22 Martin Street, Leeds.", "address", ["22 Martin Street, Leeds"]),
        ("We live at twenty-two\nBaker Street now", "address", ["twenty-two", "Baker Street"]),
        ("Flat 2, 17 Harrow Crescent, London NW3 5QY", "address", None),
        ("Ship to PO Box 721, Austin, Texas 78701.", "address", ["PO Box 721, Austin, Texas 78701"]),
        (
            "서울 강남구 테헤란로 백오십이, 3층 302호예요",
            "address",
            ["서울 강남구 테헤란로 백오십이, 3층 302호"],
        ),
        ("역삼동 이십이번지에 있어요", "address", ["역삼동 이십이번지"]),
        ("푸른아파트 백삼동\n천이백일호", "address", ["푸른아파트 백삼동", "천이백일호"]),
    ],
)
def test_names_and_addresses_are_found_where_they_are_asked_for(
    text: str, kind: str, parts: list[str] | None
) -> None:
    found = find(text, ("name", "address"))
    assert found
    assert {finding.kind for finding in found} == {kind}
    texts = [text[start:end] for finding in found for start, end in finding.parts]
    assert texts == (parts if parts is not None else [text])
    assert find(text, ("phone", "card")) == []


def test_names_and_addresses_leave_other_kinds_what_is_theirs() -> None:
    text = "I'm Sarah Miller at 22 Baker Street, call 415-555-2671 or sarah dot miller at gmail dot com"
    alone = {finding.kind: finding.parts for finding in find(text, ("phone", "email"))}
    beside = {finding.kind: finding.parts for finding in find(text)}
    assert set(beside) == {"name", "address", "phone", "email"}
    assert alone == {kind: beside[kind] for kind in ("phone", "email")}


@pytest.mark.parametrize(
    "text",
    [
        "May is a good month, and Will it be ready by Monday?",
        "I paid with my Chase card at Target in Georgia.",
        "The Victoria Line goes to King's Cross.",
        "We flew from San Francisco to Los Angeles on United Airlines.",
        "3동에 2호기 엘리베이터가 고장이에요",
        "He bought 200 shares on Wall Street in 2024, five minutes down the road.",
        "이마트에서 김치하고 정수기를 샀는데 박수를 쳤어요",
        "저는 지금 회사에 있어서 앞으로 3일은 서울에 없어요",
        "이상한 문자가 와서 고지서를 확인하고 다시 2번 전화했어요",
        "사장님하고 과장님은 회의 중이세요",
    ],
)
def test_companies_places_and_months_are_no_names(text: str) -> None:
    assert find(text, ("name", "address")) == []


@pytest.mark.parametrize("module", [addresses, english_names, korean_names])
def test_no_pattern_of_names_and_addresses_backtracks(module: ModuleType) -> None:
    patterns = {name: each.pattern for name, each in vars(module).items() if isinstance(each, re.Pattern)}
    assert len(patterns) > 5
    assert {name: parts for name, each in patterns.items() if (parts := competing(each))} == {}


def test_names_and_addresses_take_time_linear_in_the_text() -> None:
    for unit in ("Sarah Street ", "12 Aa Bb Cc ", "김민수 ", "가동 ", "서울로 일 ", "강남구 ", "A "):
        started = time.process_time()
        find(unit * 4_000, ("name", "address"))
        assert time.process_time() - started < 5, unit


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


@given(
    st.text(
        alphabet="김민수씨동호로MaySt공일이삼사오육칠팔구 네-01234567890\nabcone two@.,dotat", max_size=120
    )
)
def test_findings_lie_in_the_text_and_do_not_overlap(text: str) -> None:
    end = 0
    for start, stop in sorted(part for finding in find(text) for part in finding.parts):
        assert end <= start < stop <= len(text)
        assert "\n" not in text[start:stop]
        end = stop


def test_a_particle_behind_figures_is_no_digit() -> None:
    text = "전화는 010-1234-5678이고 집은 02-345-6789예요"
    found = [text[start:end] for each in find(text) for start, end in each.parts]
    assert found == ["010-1234-5678", "02-345-6789"]


@pytest.mark.parametrize("text", ["0" * 100_000 + "!", " " * 100_000 + "at!"], ids=["digits", "spaces"])
def test_a_long_run_is_read_once(text: str) -> None:
    """Tried again from each of its characters, a run of 100,000 would take minutes."""
    assert find(text) == []


def test_amounts_and_spoken_addresses_begin_where_their_run_begins() -> None:
    assert find("at 10:3045.5 and 00012:30, 123.45.6, 1234,567 or 50 %") == []
    (address,) = find("write to   kim   at   example dot com")
    assert address.kind == "email"
