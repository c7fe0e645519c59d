"""Object names of results and moved inputs: unused, and within the length limit of a key."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from batches.models.object_names import KEY_BYTES, candidates, fitted, numbered


def test_the_first_keeps_its_name_and_the_others_count() -> None:
    names = list(itertools.islice(candidates("in/batch/", "a.b/call.mp3"), 3))
    assert names == ["in/batch/a.b/call.mp3", "in/batch/a.b/call (2).mp3", "in/batch/a.b/call (3).mp3"]


def test_a_name_without_an_ending_counts_too() -> None:
    assert numbered("folder.d/call", 2) == "folder.d/call (2)"


def test_the_ending_of_a_result_follows_the_number() -> None:
    assert list(itertools.islice(candidates("out/", "call.mp3", ".json"), 2)) == [
        "out/call.mp3.json",
        "out/call (2).mp3.json",
    ]


def test_long_names_are_cut_and_stay_apart() -> None:
    first, second = ("가" * 340 + f"{number}.mp3" for number in (1, 2))
    keys = [fitted("in/batch/", name) for name in (first, second)]
    assert len(set(keys)) == 2
    for key in keys:
        assert len(key.encode()) <= KEY_BYTES
        assert key.startswith("in/batch/가")
        assert key.endswith(".mp3")


@given(
    st.text(st.characters(exclude_characters="/\x00", exclude_categories=["Cs"]), min_size=1, max_size=400),
    st.sampled_from(["", ".json", ".reason.txt"]),
)
def test_every_key_fits(name: str, ending: str) -> None:
    key = fitted("input/my batch/", f"{name}.mp3", ending)
    assert len(key.encode()) <= KEY_BYTES
    assert key.endswith(f".mp3{ending}")


@given(
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=400),
    st.sampled_from(["", ".json"]),
    st.sampled_from([0, 11]),
)
def test_every_name_fits_a_file_system(name: str, ending: str, spare: int) -> None:
    parts = [part for part in name.split("/") if part and len(part.encode()) <= 255 - spare]
    name = "/".join([*parts, "call.mp3"])
    key = fitted("in/", name, ending, part_bytes=255, spare=spare)
    last = key.rpartition("/")[2].encode()
    assert len(last) + spare <= 255
    assert len(key.encode()) + spare <= KEY_BYTES
    assert key.endswith(ending)


def test_a_long_name_stays_in_its_folder() -> None:
    key = fitted("out/", f"calls/{'x' * 251}.mp3", ".json", part_bytes=255)
    assert key.startswith("out/calls/xxx")
    assert key.endswith(".mp3.json")
    assert len(key.rpartition("/")[2]) == 255


def test_what_only_looks_like_an_ending_is_cut() -> None:
    key = fitted("out/", f"a.{'x' * 253}", ".json", part_bytes=255)
    assert len(key.rpartition("/")[2]) == 255
