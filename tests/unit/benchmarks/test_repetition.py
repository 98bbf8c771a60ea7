"""The benchmark of the loop guard: where an answer is cut, and whether its loop would have gone on."""

from __future__ import annotations

from benchmarks.repetition import cut_of


def words(token_ids: list[int]) -> str:
    return "word " * len(token_ids)


def test_a_loop_to_the_end_is_cut_and_goes_on() -> None:
    answer = [*range(100), *[1, 2, 3, 4, 5, 6, 7] * 60]
    place, more = cut_of(answer, words) or (0, 0)
    assert 100 + 7 * 19 <= place <= 100 + 7 * 21
    assert place + more == len(answer)


def test_a_run_that_ends_after_the_cut_does_not_go_on() -> None:
    answer = [*[1, 2, 3, 4, 5, 6, 7] * 25, *range(100, 150)]
    place, more = cut_of(answer, words) or (0, 0)
    assert place + more == 7 * 25


def test_what_does_not_repeat_itself_is_not_cut() -> None:
    assert cut_of([*range(600)], words) is None
