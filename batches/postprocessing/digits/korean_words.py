"""Korean number words, the counters that follow them, and words that only look like numbers."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _longest_first(text: str) -> tuple[str, ...]:
    return tuple(sorted(text.split(), key=len, reverse=True))


DIGITS = {
    "영": 0,
    "공": 0,
    "일": 1,
    "이": 2,
    "삼": 3,
    "사": 4,
    "오": 5,
    "육": 6,
    "륙": 6,
    "칠": 7,
    "팔": 8,
    "구": 9,
}
PLACES = {"십": 10, "백": 100, "천": 1000}
MYRIADS = {"만": 10**4, "억": 10**8, "조": 10**12}
NATIVE_TENS = {
    "열": 10, "스물": 20, "스무": 20, "서른": 30, "마흔": 40, "쉰": 50, "예순": 60, "일흔": 70, "여든": 80,
    "아흔": 90,
}  # fmt: skip
NATIVE_UNITS = {
    "하나": 1, "한": 1, "둘": 2, "두": 2, "셋": 3, "세": 3, "넷": 4, "네": 4, "다섯": 5, "여섯": 6, "일곱": 7,
    "여덟": 8, "아홉": 9,
}  # fmt: skip
# Forms used before a counter; the others, such as 하나, are used alone.
ATTRIBUTIVE = _words(
    """
    한 두 세 네 다섯 여섯 일곱 여덟 아홉 열 스무 서른 마흔 쉰 예순 일흔 여든 아흔
    """
)
MONTHS = {"유월": 6, "시월": 10}
_BY_MARK = {"퍼센트": "%", "프로": "%"}
# Counters of Sino-Korean numbers (일, 이, 삼).
SINO_COUNTERS = _longest_first(
    """
    원 달러 유로 엔 위안 파운드 센트 퍼센트 프로 년 년도 년생 년대 개년 월 개월 주 주일 주년 일 분 초 시
    시간 세 대 층 번 번째 번지 호 호선 호실 동 단계 등 등급 위 회 회차 차 차선 차로 과 장 권 편 학년 학기
    반 교시 기 인 인분 인승 인용 명 분의 개 건 곳 배 점 도 평 살 마리 가지 마디 박 킬로 킬로미터 킬로그램
    킬로와트 킬로바이트 미터 센티 센티미터 밀리 밀리미터 밀리리터 밀리그램 리터 그램 톤 헥타르 제곱미터
    와트 볼트 칼로리 킬로칼로리 메가 메가바이트 기가 기가바이트 테라 테라바이트 헤르츠 인치 마일 볼 쪽
    페이지 조각 종 종류 가구 세대 통 병 잔 벌 켤레 송이 그루 대의 줄 판 포인트 표 석 채 팀 쌍 바퀴 여개
    여명 여년
    """
)
# Counters of native numbers (하나, 둘, 셋).
NATIVE_COUNTERS = _longest_first(
    """
    개 명 시 시간 살 번 번째 마리 권 대 병 잔 장 달 가지 분 곳 군데 켤레 벌 채 송이 그루 통 판 자루 배 줄
    쌍 끼 그릇 조각 봉지 박스 상자 팀 바퀴 건 편 곡 칸 방울 스푼 숟가락 컵 모금 마디 문제 과목 종류 시즌
    자리 쪽 개월 주 포기 점 차례 갑 척 필지 포대 세트 접시 세대 가구
    """
)
# Counters that may follow a native numeral of one syllable without a space; 세대, 두통 and 열병 are words.
JOINED_COUNTERS = _words("시 시간 명 개 살 마리 번 번째 개월")
# "한 번 보세요", "한 분": 한 is as often an article as a number.
ARTICLES = _words(
    """
    번 분 가지 편 곳 군데 쪽 마디 자리 점 줄 판 통 대 바퀴 모금 배 주
    """
)
# Numerals of one syllable with these counters are other words: 사회, 이번, 구분, 일반, 영원, 공원, 만세.
NOT_JOINED = _words(
    """
    이유로 사유로 공유로 구유로 이번 이분 이일 이원 이점 이도 이회 이배 이과 이반 이기 이세 이주 이주일
    이차 이년 이월 이대 이명 이동 이위 이편 이장 이등 이인 이건 이곳 이시 이호 이통 이판 이줄 이개 이쪽
    이표 이종 이석 이팀 이쌍 일원 일반 일과 일점 일도 일배 일호 일명 일대 일개 일세 일시 일위 일장 일체
    일차 일부 일인 일동 일주 일기 일등 일건 일곳 일편 일통 일석 일종 일일 일가구 일세대 삼일 삼사 삼원
    삼세 삼각 삼도 삼촌 삼대 삼점 삼시 삼반 삼석 삼인 사원 사회 사과 사도 사기 사위 사주 사점 사번 사초
    사등 사장 사인 사건 사세 사동 사대 사반 사차 사일 사편 사시 사명 사호 사통 사판 사표 사종 사석 사배
    오일 오점 오기 오도 오원 오반 오세 오인 오시 오차 오장 오판 오명 오동 오해 오대 오배 오호 오통 오과
    오석 육회 육원 육과 육장 육도 육일 육시 육인 육석 육성 칠일 칠판 칠도 칠시 칠석 칠순 팔도 팔일 팔시
    팔자 팔장 팔석 구분 구회 구호 구도 구점 구원 구일 구차 구세 구기 구동 구장 구인 구시 구명 구과 구반
    구위 구성 구대 구주 구등 구석 구종 구판 구배 구편 구표 공원 공개 공기 공동 공장 공인 공시 공명 공대
    공일 공주 공과 공세 공석 공통 공판 공표 공위 공차 공도 영원 영점 영화 영장 영세 영주 영일 영인 영동
    영도 영시 영위 영기 십분 백반 백도 백기 백분 백세 천장 천도 천일 천재 천시 천주 천세 천석 만세 만기
    만인 만일 만장 만점 만석 만도 만시 만반 만회 만주 만차 만화 만동 억시 조개 조기 조장 조원 조회 조건
    조명 조위 조도 조일 조편 조인 조세 조점 조시 조반 조차 조과 조종 조석 조판 조통
    """
)
# Numerals that are other words unless a counter follows: 이천 and 사천 are towns.
NOT_ALONE = _words(
    """
    이천 사천 구천 오천 일천 삼천 만일 만이 만사 만오 천일 천이 천사 천오 천구 백이 백일 백사 백오 백구
    억이 조이 일억 이억 일조 이조 사조 오조 구조 공조 일만 이만 오만 사만 구만 천만 백만 십만 수백 십이지
    """
)
_TAILS = """
    이 가 은 는 을 를 의 에 에서 에는 에도 에만 에서는 으로 로 으로는 로는 과 와 도 만 까지 까지는 부터
    보다 마다 씩 정도 정도의 정도는 쯤 가량 이상 이하 미만 초과 이내 이후 이전 이나 나 이고 이며 이라
    이라고 라고 이에요 예요 이예요 입니다 이었습니다 였습니다 이었고 였고 이었어요 였어요 인데 인데요 이죠
    이지만 이네요 네요 이야 야 이요 요 이랑 하고 간 동안 째 째로 짜리 대 대의 대에 대로 전 전에 후 후에 뒤
    뒤에 당 치 어치 밖에 이라는 라는 인 이란 으로부터 에게 께서 들 들이 들은 들의 들을 경 무렵 자 여 이다
    다 였다 이었다 때 말 초 중순 하순 초에 말에 생 한테 이든 이면 면 이니 이니까 처럼 만에 만의 만큼 뿐
    뿐만 입니까 이세요 이십니다 이신 예정 기준 남짓
    """
TAILS = _words(_TAILS)
# Words allowed after a number without a counter: fewer, since nothing else indicates a number.
BARE_TAILS = _words(
    """
    이상 이하 미만 초과 정도 정도의 쯤 가량 까지 부터 보다 에서 에 의 으로 로 은 는 을 를 과 와 입니다
    이에요 예요 이고 이며 이라고 라고 이었습니다 였습니다 인데 인데요 여
    """
)
# Endings of the copula 이다 after a consonant, without their 이: 공이요 ends in a zero.
COPULA_RESTS = _words(
    """
    요 에요 고 고요 구요 라고 라 야 며 나 었습니다 거든요 지만 네요
    """
)
APPROXIMATE = _words("몇 수 여러")


def written_counter(counter: str) -> str:
    """Spelling of a counter after digits."""
    return _BY_MARK.get(counter, counter)
