"""Vocabulary of detection: digit words, fillers of speech, context words, stop words of addresses."""

from __future__ import annotations

OTHER = "other"  # an order number, a tracking number, a delivery date: not personal data


def _words(text: str) -> list[str]:
    return text.split()


def _pairs(text: str) -> dict[str, str]:
    """Parse ``word=value`` pairs."""
    return dict(each.split("=") for each in text.split())


KOREAN_DIGITS = _pairs(
    """
    공=0 영=0 일=1 이=2 삼=3 사=4 오=5 육=6 륙=6 칠=7 팔=8 구=9 빵=0 제로=0 하나=1 둘=2 셋=3 넷=4
    다섯=5 여섯=6
    일곱=7 여덟=8 아홉=9
    """
)
ENGLISH_DIGITS = _pairs(
    """
    zero=0 oh=0 o=0 nought=0 naught=0 one=1 two=2 three=3 four=4 five=5 six=6 seven=7 eight=8 nine=9
    """
)
TEENS = _pairs(
    """
    ten=10 eleven=11 twelve=12 thirteen=13 fourteen=14 fifteen=15 sixteen=16 seventeen=17 eighteen=18
    nineteen=19
    """
)
TENS = _pairs("twenty=2 thirty=3 forty=4 fifty=5 sixty=6 seventy=7 eighty=8 ninety=9")
TIMES = {"double": 2, "triple": 3, "treble": 3}
LETTER_NAMES = _words(
    "에이 비 씨 시 디 에프 지 에이치 제이 케이 엘 엠 엔 오 피 큐 알 에스 티 유 브이 더블유 엑스 와이 제트"
)
# Between two groups of one number.
SEPARATORS = frozenset(
    _words(
        """
        다시 대시 하이픈 에 의 에다 에다가 그리고 다음 다음에 다음은 그다음 그다음에 dash hyphen minus
        space then and
        """
    )
)
# Said by the speaker or the listener while a number is read out.
FILLERS = frozenset(
    _words(
        """
        음 어 아 그 저 네 네네 예 예예 응 흠 잠시만요 잠깐만요 잠깐 잠시 맞습니다 맞아요 확인했습니다
        아니 아니요 아니다
        아니에요 죄송합니다 죄송해요 그러니까 계속하세요 말씀하세요 uh um er erm ah hm hmm mm mhm huh
        okay ok yes yeah yep
        right sorry wait no actually mean i so please got it hold on correction go ahead
        """
    )
)
# Words before an e-mail address that are not part of it.
ADDRESS_STOP_WORDS = _words(
    """
    is my email mail address e to it its s at the this 이메일은 메일은 주소는 이메일 메일 주소 제
    아이디는 이메일이 메일주소는
    """
)
# Context words, which indicate the kind of a number near them, as alternatives of regular expressions.
CONTEXTS = {
    OTHER: _words(
        r"""
        주문 송장 운송장 접수 예약 상품 제품 모델 시리얼 일련 버전 쿠폰 문의 티켓 사건 계약 우편 회원
        고객\s?번호 배송 가입
        결제 만기 방문 인증 비밀 승인 재고 참조 관리\s?번호 주차 객실 항공 좌석 유효 할인 가격 금액
        포인트 마일리지 수량
        \border \btracking \binvoice \bticket \breference \bref\b \bserial \bmodel \bsku\b
        \bconfirmation \bcase\b
        \bitem \bproduct \bversion \bcoupon \bbooking \breservation \bzip\b \bpostal
        \bcustomer\s(?:number|id)
        \bappointment \bdelivery \bdeliver \bexpir \bscheduled \bdue\b \bpin\b \bone[-\s]time \bflight
        \bseat
        \bpart\snumber \bpolicy \bclaim \bprice \bamount \btotal \bpoints \bquantity \bparcel \bshipment
        """
    ),
    "card": _words(r"카드 \bcredit \bdebit \bcard\b \bvisa\b \bmaster\s?card \bamex\b"),
    "resident": _words(
        r"""
        주민 외국인\s?등록 \bresident \bsocial\s(?:security|number|is) \bssn\b \bnational\sid
        \bnational\sinsurance
        """
    ),
    "business": _words(
        r"사업자 \bbusiness\s(?:registration|number) \bemployer\sid \bein\b \bcompany\sregistration"
    ),
    "passport": _words(r"여권 \bpassport"),
    "licence": _words(r"면허 \blicen[cs]e \bdriver \bdriving"),
    "phone": _words(
        r"""
        전화 연락처 대표\s?번호 휴대폰 핸드폰 휴대\s?전화 폰\s?번호 팩스 문자 내선 \bphone
        \btelephone \bmobile \bcell\b \bcall\s(?:me|us|back|him|her)
        \breach\s(?:me|us) \bfax\b \btext\sme \bcallback \bcontact\snumber
        """
    ),
    "account": _words(
        r"계좌 통장 은행 뱅크 \b(?:bank\s|checking\s|savings\s)?account \brouting \biban\b \bsort\scode"
    ),
    "birth": _words(r"생년월일 생일 태어 출생 \bdate\sof\sbirth \bbirth \bborn\b \bd\.?o\.?b\b"),
}
# No part of a street's name, between a house number and the kind of street.
STREET_STOPS = frozenset(
    _words(
        """
        the a an of in on at to for from by and or is are was were be been my your his her our their this
        that these those minutes minute miles mile hours hour days weeks years people cars times blocks
        kilometres meters metres down up along across off with without way ways one-way per it as we you
        they i more other different
        """
    )
)
# Words that end like a Korean city or district.
DISTRICT_STOPS = frozenset(
    _words(
        """
        다시 혹시 역시 잠시 즉시 몇시 친구 복구 요구 입구 출구 누구 도구 가구 지구 야구 축구 농구
        연구 동시 당시 표시 임시 필시 일시 무시 제시 지시 감시
        """
    )
)
# Words that end like a Korean town.
TOWN_STOPS = frozenset(
    _words(
        """
        자동 행동 활동 이동 운동 공동 변동 진동 작동 우리 자리 처리 정리 관리 수리 거리 소리 머리
        다리 요리 그리 누가 제가 네가 내가
        """
    )
)
