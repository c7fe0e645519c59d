"""Keyword tables on the device agree with the keyword walker."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from batches.recognition.asr.continuous.keyword_tables import KeywordAutomaton, KeywordTables
from batches.recognition.asr.keywords import KeywordTree

WIDTH = 128  # of a vocabulary of one token for each ASCII character
CPU = torch.device("cpu")


class Letters:
    """Tokenizer with one token per character."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


def tree(keywords: list[str], *, spaced: bool = True, weight: float = 4.0) -> KeywordTree:
    return KeywordTree(keywords, Letters(), weight=weight, spaced=spaced)


def bonus_of(tables: KeywordTables, state: int) -> dict[int, float]:
    pairs = zip(tables.bonus_tokens[state].tolist(), tables.bonus[state].tolist(), strict=True)
    return {token: bonus for token, bonus in pairs if bonus}


def follow(tables: KeywordTables, place: tuple[int, int], made: KeywordTree, text: str) -> None:
    """Check every state and bonus along the text against the walker's."""
    walker, state = made.walker(), place[0]
    for at_start, row in ((True, 0), (False, 1)):
        assert torch.equal(tables.bias[place[1] + row], made.start_bias(WIDTH, at_start=at_start))
    for letter in text:
        assert bonus_of(tables, state) == walker.bonus()
        walker.advance(ord(letter))
        state = int(tables.advance(torch.tensor([state]), torch.tensor([ord(letter)]))[0])
    assert bonus_of(tables, state) == walker.bonus()


keyword_lists = st.lists(st.text("abAB ", min_size=1, max_size=6), min_size=1, max_size=5)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.tuples(keyword_lists, st.booleans()), min_size=1, max_size=3), st.text("abAB c", max_size=14)
)
def test_states_and_bonuses_are_the_walkers(lists: list[tuple[list[str], bool]], text: str) -> None:
    trees = [
        tree(keywords, spaced=spaced, weight=4.0 + number) for number, (keywords, spaced) in enumerate(lists)
    ]
    tables = KeywordTables(WIDTH, WIDTH, CPU)
    places = [tables.place(KeywordAutomaton.compile(made)) for made in trees]
    for made, place in zip(trees, places, strict=True):
        follow(tables, place, made, text)


def test_rows_without_keywords_get_nothing() -> None:
    tables = KeywordTables(WIDTH, WIDTH, CPU)
    tables.place(KeywordAutomaton.compile(tree(["abc"])))
    assert bonus_of(tables, 0) == {}
    assert not tables.bias[:2].any()
    assert int(tables.advance(torch.tensor([0]), torch.tensor([ord("a")]))[0]) == 0


def test_tables_that_grow_keep_the_states_that_rows_are_in() -> None:
    tables = KeywordTables(WIDTH, WIDTH, CPU)
    first = tree(["abcab", "bca"])
    place = tables.place(KeywordAutomaton.compile(first))
    addresses, version = tables.bonus.data_ptr(), tables.version
    second = tree(["cab"], weight=5.0)
    tables.place(KeywordAutomaton.compile(second))
    assert (tables.bonus.data_ptr(), tables.version) == (addresses, version)
    many = tree([f"{a}{b}{c}dd" for a in "abcdefgh" for b in "abcdefgh" for c in "abcdefgh"])
    follow(tables, tables.place(KeywordAutomaton.compile(many)), many, "abcddah dd")
    assert tables.version > version
    assert tables.place(KeywordAutomaton.compile(first)) == place
    follow(tables, place, first, "xabcabcab")
    assert all(size & (size - 1) == 0 for size in (*tables.bonus.shape, len(tables.bias)))


def test_tables_forget_keywords_only_when_no_row_has_any_of_them() -> None:
    tables = KeywordTables(WIDTH, WIDTH, CPU)
    first, second = tree(["abc"]), tree(["bcd"])
    place = tables.place(KeywordAutomaton.compile(first))
    tables.retain([first.digest])
    other = tables.place(KeywordAutomaton.compile(second))
    assert other != place
    tables.retain(["of another list"])
    assert tables.place(KeywordAutomaton.compile(second)) == place
    follow(tables, place, second, "abcd bcd")


def test_equal_lists_have_equal_digests() -> None:
    assert tree(["abc", "b"]).digest == tree(["abc", "b"]).digest
    assert (
        len({tree(["abc"]).digest, tree(["abc"], weight=2.0).digest, tree(["abc"], spaced=False).digest}) == 3
    )
