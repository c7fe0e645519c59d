"""Vocabulary of people's names: US census lists (package ``names``), ambiguous words, Korean syllables."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def given_names() -> frozenset[str]:
    """English given names in lower case, without those too short to be told from words."""
    census = _census("male.first") | _census("female.first")
    return frozenset(name for name in census if len(name) > 2) | OTHER_GIVEN_NAMES


@cache
def frequent_given_names() -> frozenset[str]:
    """Given names that are searched for in lower case too, where a recogniser writes no capitals."""
    names = _census("male.first", 0.03) | _census("female.first", 0.03)
    return frozenset(name for name in names if len(name) > 3) - AMBIGUOUS


@cache
def surnames() -> frozenset[str]:
    """English surnames in lower case."""
    return _census("all.last")


def _census(part: str, at_least: float = 0.0) -> frozenset[str]:
    """Names of a list of the US census of 1990. A line has a name, its percentage, the sum and a rank."""
    lines = files("names").joinpath(f"dist.{part}").read_text(encoding="ascii").splitlines()
    rows = [line.split() for line in lines if line.strip()]
    return frozenset(row[0].lower() for row in rows if float(row[1]) >= at_least)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Given names of other countries than the US census lists.
OTHER_GIVEN_NAMES = _words(
    """
    aarav abdullah abebe abiola adaeze adebayo adil aditi aditya agnieszka ahmad ahmet aisha ajay akash
    akira aleksander aleksandra alessandro alexei alicja amina aminata amir amit amrita ananya andrzej
    anil anita anjali ankit antoine anya aoife arjun arnav asif ayesha ayumi bartosz beatriz bilal bjorn
    caoimhe chiamaka chidi chinedu ciaran cillian deepak deepika dimitri divya ebru eirik elif emeka emre
    esra fatima fatimah fatma farah farhan fionn folake francois gaurav giovanni giulia giuseppe goran
    grzegorz guillaume gunther habib hamza haruka haruto hasan hassan hiroshi hiroto huda hussein ibrahim
    imran ingrid irina isha ismail ivan jakub javier jens jorg juergen jurgen kaito karim karthik
    katarzyna kavita kenji khadija khalid kiran klaus kofi krzysztof kwame lakshmi lars latif leila liam
    luca lukas lukasz maciej magnus malgorzata manish matteo mehmet mei michal mikhail mohamed mohammad
    mohammed muhammad mustafa nadia naoko natasha neha niamh nikhil nikolai nkechi noor oisin oleg olga
    omar osman padraig parvati pawel piotr pooja pradeep prakash pranav prasad priya priyanka rahul raj
    rajesh ramesh rania rashid ravi rohan rohit roisin sachin saeed sakura salma samir sandeep sanjay
    satoshi saoirse sergei shreya siddharth sinead siobhan sneha soren stanislav sunil suresh sven
    svetlana swati takashi takeshi tariq tatiana thabo tomasz umar usman vijay vikram viktor vishal
    vladimir wojciech yasmin yosef youssef yuki yuri yusuf zainab zeynep ngozi oluwaseun thandiwe xavier
    yiannis dimitris kostas eleni matthias dieter heinrich uwe lena anneke pieter willem joost sanne
    """
)
# Given names that are also words, places or brands: names only beside a surname or in a context.
AMBIGUOUS = _words(
    """
    aide ali alpha amber angel angle apple april aria art asia august augustus aura austin autumn barb
    basil bee bell berry bill birdie blanca blossom boston brain brandy bree brooklyn buck bud buddy bunny
    candy carolina caroline carry cash chance chang charity charlotte chase chelsea cherish cherry chester
    china christian cinderella clay clear cleveland cliff conception concha cookie coral cotton coy cris
    crystal dakota dale dallas della dawn dean dee dell delta denver desire destiny detroit dexter diamond
    dick dixie dollie domino don dorian dot dusty earl earnest easter echo eden egypt else england
    epiphany era essence eve ever evergreen fairy faith fashion fe felicity fern flo flora florence
    florida forest foster france frank freedom galaxy gay gem gene genesis georgia germany ginger glen
    glory golden grace grand grant green guadalupe guy hal hang happy harmony hazel herb holland holly
    homer honey honor hope houston hue hung hunter hyacinth ike independence india iris israel ivory ivy
    jade jan jasmine jazz jeep jersey jewel jordan joy juan jules july june junior justice justine karma
    kenya king kit kitty lady lane lang laurel lavender lawn lean les liberty light lily lincoln ling loan
    london long lore louisiana love lourdes lucky luna mac mackenzie madison magic major man manual many
    maple mario marine mark marry marvel mason max may media melody memory mercedes mercy merry mi miles
    mina ming miracle miss misty mistake modesta monday money monet montana moon morning nan nevada noble
    norma norman north numbers ocean odyssey olive omega orange oscar page paris patience pearl peg penny
    people person phoenix piper plum poppy porsche prairie precious price prince princess providence queen
    rain ramona raven ray red reed regan rich robin rock rocky rod roman rose rosemary royal ruby rusty
    sage sal sandy santa santiago savannah season see serena serenity shannon shell sherry shin sid sierra
    silver sky son song soon sparkle spring star stark sterling stone stormy street summer sun sunday
    sunny sunshine sydney tad tam target tea temple tequila thanh theme tiffany tiny toledo toy trinity
    tuesday tyler ty val valentine van vegas velvet venice venus victor victoria victory vi vienna violet
    virginia vista von ward warner washington wednesday wendy will willow win windy winter wonder wood
    york young zion chi kia visa mai ford marina regina angeles antonio diego francisco jose monterey
    salem marion lexington the and for you she her his our was had has have are not but can did who how
    why that this they them then than there here what when where which with from into over under some any
    all one two now yes
    """
)

# Capitalised words that are no part of a name, beside titles.
NO_NAME = _words(
    """
    san los las fort saint certainly absolutely actually um uh hmm oh ah alright hold excuse what whose
    i i'm i'll i'd i've a an the this that these those there here it its it's he she we you they my your
    his her our their and or but if so because as at by for from in into of off on onto out over to up
    with without about after before between during under until while who what when where which why how is
    are was were be been am do does did done have has had can could may might must shall should will would
    not no yes yeah yep ok okay please thanks thank sorry well now then just also only very all any both
    each some every many much more most other another such same let let's get got go going come see look
    call calling speaking hello hi hey dear bye goodbye good morning afternoon evening night today
    tomorrow yesterday monday tuesday wednesday thursday friday saturday sunday january february march
    april june july august september october november december spring autumn winter english korean
    american british chinese japanese german french spanish indian canadian mexican european america korea
    england britain china japan germany france spain india canada mexico europe asia africa london paris
    berlin seoul busan york boston chicago denver seattle portland oxford cambridge washington california
    texas florida illinois colorado ohio oregon michigan nevada arizona service services support customer
    customers care center centre bank card credit debit account department desk team office company inc
    ltd llc corp corporation group store shop hotel hospital clinic school university college church
    airport station line street st avenue ave road rd boulevard lane drive court place square terrace park
    bridge building tower floor suite insurance energy electric wireless mobile internet online airlines
    express prime music video word excel windows acrobat chrome pixel galaxy max pro plus day days year
    week month time period union league cup world united states kingdom city county state north south east
    west amazon google microsoft apple samsung facebook netflix verizon walmart costco target starbucks
    toyota honda hyundai nissan tesla disney adobe oracle intel cisco fedex ups dhl paypal visa mastercard
    lloyds barclays hsbc fargo sachs chase stanley daniels pepper hilfiger lauren klein schwab davidson
    wells zoom don't doesn't didn't can't won't isn't aren't wasn't couldn't wouldn't shouldn't
    haven't hasn't that's what's there's here's who's where's how's he's she's we're you're they're we'll
    you'll lord lady god christ jesus christmas easter new old first last second third next sure right
    left really maybe again back nothing something anything someone everyone everybody nobody fine great
    happy glad
    """
)
# Words after which a capitalised name is that of a thing: "Victoria Station", "Jordan Street".
THINGS = _words(
    """
    station line street avenue road lane drive boulevard square park bridge airport hospital university
    college school church bank insurance company inc ltd llc corp corporation group hotel stadium arena
    theatre theater museum building tower center centre county city falls lake river island beach mountain
    valley airlines express award prize act law day fargo stanley daniels lauren klein hilfiger schwab
    davidson sachs chase cosmetics motors pharmacy foundation institute cup league bar grill diner pizza
    """
)
TITLES = _words("mr mrs ms dr miss doctor professor prof sir madam captain officer judge nurse detective")
ABBREVIATED_TITLES = _words("mr mrs ms dr")
ROLES = _words(
    """
    husband wife son daughter brother sister mother father mom mum dad uncle aunt cousin fiance fiancee
    boyfriend girlfriend partner friend neighbour neighbor roommate manager supervisor boss colleague
    coworker assistant agent representative secretary lawyer attorney accountant landlord tenant
    technician driver teacher patient client
    """
)
PERSON_VERBS = _words(
    """
    said says told called asked sent wrote wants wanted thinks spoke signed agreed approved mentioned
    promised replied emailed phoned texted explained confirmed
    """
)
PARTICLES_OF_NAMES = _words("van von de der den del della di da la le bin ibn al el st")

ROMAN_KOREAN_SURNAMES = _words(
    """
    kim lee yi park pak choi choe jung jeong chung kang gang cho jo yoon yun jang chang lim im han oh seo
    suh shin sin kwon hwang ahn an song jeon jun hong yoo yu ryu go ko moon yang son bae baek heo hur nam
    noh no ha kwak sung cha joo ju woo koo ku min jin ji
    """
)
ROMAN_KOREAN_SYLLABLE = (
    "(?:min|ji|su|soo|jun|joon|seo|yeon|yun|yoon|woo|u|hyun|hyeon|young|yeong|yong|jin|hye|eun|kyung|kyeong|gyeong"
    "|mi|na|ra|ah?|in|ho|hoon|hun|seok|suk|sook|seung|sung|seong|tae|jae|dong|do|ha|hee|hui|won|bin|chan|cheol|chul"
    "|hwan|kyu|gyu|sang|sun|seon|so|yoo|yu|ye|yul|ki|gi|geun|keun|kwang|byung|beom|bum|ja|jung|jeong|joo|ju|rin|jong)"
)

CHINESE_SURNAMES = _words(
    """
    wang li zhang liu chen yang huang zhao wu zhou xu sun zhu hu guo he lin gao luo zheng liang xie tang
    deng feng cao peng zeng xiao tian dong pan yuan cai jiang yu du ye cheng wei lu ding ren shen yao
    """
)
PINYIN_SYLLABLE = (
    "(?:[bpmfdtnlgkhjqxrwy]|zh?|ch?|sh?)(?:iang|iong|uang|iao|ian|ing|ong|ang|eng|uan|uai|ia|ie|iu|in|ai|ei|ao|ou|an|en"
    "|ua|uo|ue|ui|un|a|o|e|i|u)"
)

KOREAN_SURNAMES = (
    "김이박최정강조윤장임한오서신권황안송전홍유고문양손배백허남심노하곽성차주우구민진지엄채원천방공현함변염"
    "여추도석선설마길연위표명기반왕금옥육인맹제모탁국은편용류라"
)
COMPOUND_SURNAMES = _words("남궁 황보 제갈 선우 독고 사공 서문")
# Surnames that are no other word before a job title: "김 과장", but not "이 과장" (this), "전 과장" (former).
CLEAR_SURNAMES = "김박최강윤임권황송홍손배백허오서정조장문양노곽"
# Syllables of given names: first and last ones that are frequent, and all that occur.
FIRST_SYLLABLES = (
    "민서지수영은현성정미경재준도하예유승동상종태윤소채다주진혜선나보가시연우건찬형광병철용원인기창명순옥춘"
    "금봉대규석세효희한홍호화해아라이길남덕두만문범복삼슬숙신안양요욱은의일자장제중충학향혁환훈흥"
)
LAST_SYLLABLES = (
    "수준우호현영희진연은아원민서윤지훈석철식환섭혁빈율린나주미경정숙순옥란규욱자태성승균기웅열용운완인일재"
    "종중찬창헌형홍화후휘교구국권근길곤관광배범병복봉상삼목만문묵덕도동두선임림실심애례혜효하라람슬솔별결겸결"
    "이리온유늘"
)
# Last syllables that are also endings of words ("위해서", "하지"), with those that they follow in names.
ENDING_SYLLABLES = {
    "서": "민윤은현준연예",
    "지": "민수은현윤예연",
    "나": "유하한미지예",
    "자": "영순정경미명숙혜춘",
    "아": "지수민은윤정현경진선연영세미",
    "기": "영성병용",
    "수": "민철영지은경현광정미동성준진",
    "성": "우재현진준민은지",
    "원": "정지재시주소혜은상종창",
    "미": "영수경은지유정선",
    "정": "수은현미혜유연윤민소",
}
GIVEN_SYLLABLES = frozenset(FIRST_SYLLABLES + LAST_SYLLABLES)
# Korean words that look like a name.
KOREAN_WORDS = _words(
    """
    정수기 이상한 고지서 안경은 전화기 주소지 유지비 이자율 연수원 조미료 장미꽃 신용 조회 안내 변경 주문
    이번 신규 기존 우수 정기 기사 이용 전용 전화 주소 유지 이자 연수 조미 장미 지금 현재 이미 조금 전문
    신입 고객 주부 한국 한성 서울 서민 문의 문자 양도 양수 이동 이사 이상 이하 이유 이전 이후 이내 정보
    정도 정리 정상 정지 정식 조정 조사 조기 장기 장소 장비 임시 임대 임원 한정 한도 한화 오전 오후 오늘
    오류 서류 서명 신청 신고 신분 신호 권한 황금 안정 안전 송금 송장 전기 전부 전자 전체 전국 전달
    전송 홍보 유효 유료 유선 고장 고정 고유 고민 문제 문서 양호 배송 배달 배정 백화 허용 남자 남성 남은
    심사 심지 노선 하나 하지 하루 하자 성인 성명 차이 차량 차후 주의 주인 주민 주간 주기 우선 우리 우유
    구매 구성 구분 구독 민원 진행 진료 지원 지정 지하 지연 지점 지역 채용 원래 원인 천만 방문 방송 방금
    공지 공유 공기 공동 현금 현장 함유 변동 여기 여자 여성 여러 추가 추천 도로 도시 도착 석유 선택 선물
    선생 설명 설정 마지 마음 연기 연장 연락 위치 표시 명의 명함 기간 기준 반품 반영 금액 금지 인증 인상
    모두 모레 국내 국민 은행 용도 이유로 이은 이는 정은 우수한 유명한 고마운 이미지 이대로 정하는 전하는
    주는 전해 전시 전일 전자는 주식 주소는 도시가 도시는 공사 공사가 안건 조건 조건이 장소가 이유가 이유는
    이야기 이상이 이상은 전원이 전원을 전원 지구 고구마 한우 한우가 한우를 주유소 우연히 여유가 구두
    구두로 이수 이수를 이슈 현수막 현대 현지 현지인 인도 인도에 인도는 도자기 유리 유리가 신문 신문은
    신문이 문화 문화가 문화를 문학 정문 정원 정원이 정원은 정원을 정신 정신이 정규 정의 정품 정답 조화
    조식 조선 장난 장례 임상 임금 한방 한문 오해 오리 서재 서열 신선한 신선 신성 신도시 안주 안과 안도
    전주 전선 전철 전철이 전문가 유학 유서 고기 고기가 고기를 고급 고등어 고등 고용 고향 문구 문구가 양식
    양말 양상 손상 손상이 배경 배경이 배우 배우가 배수 배수가 배구 백신 백지 남아 남아서 남편 남매 노래
    노인 노인이 노동 노동자 노선이 하수 하수도 성공 성과 성분 성분이 성수기 차선 차선이 차례 주차 주차장
    주요 주제 주제가 주택 주유 주인이 주인은 우주 우산 우정 구두가 구조 구조가 구역 민주 민주주의 진실
    진심 진도 진도가 지도 지도가 지도를 지도자 지식 지인 지인이 지인한테 지인에게 지방 지진 지진이 원서
    원서를 원두 원수 원화 천원 방수 방수가 방학 방향 공원 공원이 공원은 공장 공장이 공식 공연 공연이 공용
    현실 현실이 현상 현상이 변호사 여우 여행 여행이 도서 도서관 도움 도움이 도구 도구가 도중 석사 선수
    선수가 선배 선원 설치 설비 설정이 마트 마감 연구 연구가 연구를 연인 연휴 연휴는 연결 연결이 위주 위반
    표지 명단 명절 기관 기관이 기록 기록이 기능 기술 기대 기분 기차 기자 기자가 기온 반대 반장 반지 반지를
    왕복 금리 금요일 인간 인기 인기가 인구 인사 인사가 인원 인원이 인원은 인정 인형 인형이 제일 제안 제한
    제도 제도가 제목 제목이 모금 모임 모임이 모양 모양이 국수 국수가 국화 국기 국가 국가가 국제 은혜 용서
    용기 용기가 정말 정확 정확히 이제 이게 이거 이건 이걸 이름 이분 이곳 이쪽 이따 이런 이렇 조만간 조용히
    주말 주중 주변 전혀 전에 전부터 유난히 고모 고모가 이모 이모가 이모는 형수 장모 장인 손자 손주 손녀
    남동생 여동생 남자가 여자가 신랑 신부 신부가 신한 우리은 하나은 국민은 정기적 정기예 고정금 변동금
    이율은 이율이 이자는 이자가 원금은 원금이 잔금은 주황 노란 하얀 하늘 하늘이 하늘은 이사가 이사는
    이사를 유모차 유아 유아용 유치원 조명 조명이 조명은 장화 장화를 장마 장마가 장애 장애인 장애가 임신
    임산부 안심 안정이 안부 안부를 심리 심장 심장이 심부름 강아지 강연자 강인성 고소자 고시원 고아원
    고용원 고용자 고용주 고유성 고정식 고효율 공유기 공유지 공정성 구경나 구금자 구도자 구명정 구미호
    구석기 구석진 구성원 구세주 구원자 국기원 국민성 국유지 국정원 권태기 금연석 기다란 기다린 기다리
    기대서 기대주 기도원 기동성 기화열 남성미 노다지 노인성 노하우 도덕성 도라지 도시민 도우미 도화지
    마가린 마지기 명가수 명세서 명승지 모가지 모순성 모호성 문예지 문지기 문화원 반민주 반세기 반주자
    방수성 방정식 배수지 배수진 배우자 변동성 변성기 변화율 서정성 선도자 선순환 설명서 성명서 손재주
    송아지 신경성 신석기 신선미 신호기 안정기 안정성 양도성 양성자 양수기 여성미 여성지 여인숙 연기자
    연대기 연대순 연주자 염기성 오남용 오미자 오선지 오이지 옥동자 옥수수 왕세자 우수성 우승자 우연성
    원동기 원주민 원주율 위대성 유동성 유동식 유아기 유아원 유연성 유용성 유원지 유인원 유해성 유효성
    은하수 이다지 이동성 이동식 이민자 이용자 이유식 이재민 이주민 이주자 이태원 인원수 인화지 장기수
    장보기 전동기 전선주 전성기 전세기 전용기 정규식 정나미 정보원 정보지 정원수 제보자 조수석 조정기
    조종석 주기성 주재원 지명자 지원서 지원자 지정석 지지율 지지자 지하수 지하철 진동수 진정서 진정성
    최우수 추기경 하소연 한가지 한정식 현대성 현대식 현미경 홍보성 황금기 황태자 여기서 위해서 통해서
    대해서 안내서 신청서 주문서 계약서 증명서 확인서 보고서 유의서 동의서 마이크 오디오
    """
)
GIVEN_NAME_STOPS = _words(
    """
    아가 아저 날 솜 글 말 불 마음 아주 모든 해당 우리 어떤 이런 저런 그런 여러 다른 같은 섭씨 화씨 성인
    남성 여성 주인 가족 이용 신규 기존 우수 회원 기사 상담 관리 부모 형제 자녀 지인 친구 동네 담당 예약
    주문 전화 문의 선배 후배
    """
)
# Korean spellings of foreign given names.
FOREIGN_NAMES = _words(
    """
    마이클 제임스 데이비드 크리스 스티브 스티븐 제니퍼 제시카 에밀리 로버트 윌리엄 리처드 토마스 다니엘
    앤드류 케빈 브라이언 저스틴 알렉스 피터 줄리아 캐서린 엘리자베스 소피아 올리비아 크리스티나 매튜 조셉
    벤자민 니콜라스 사무엘 에드워드 스테파니 미셸 레베카 로라 제이슨 에릭 라이언 나탈리 빅토리아 모하메드
    응우옌
    """
)
FAMILY = "엄마|아빠|어머니|어머님|아버지|아버님|할머니|할아버지|누나|언니|오빠"
JOB_TITLES = (
    "과장|대리|부장|차장|팀장|실장|사원|주임|상무|전무|사장|대표|이사|원장|소장|교수|박사|선생|기사|간호사|변호사"
    "|매니저|상담원|상담사|의원|회장|점장|계장|반장|센터장|본부장|지점장|프로|책임|수석|여사|주무관|사무관|형사|코치"
    "|감독|작가|목사|집사|권사|장로|선배|조교"
)
