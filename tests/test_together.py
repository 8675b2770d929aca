"""Frames of several requests in one run of the network: each gets its own answers."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from digits.reading.predictor import MOST_AT_ONCE, Predictor
from digits.serving.together import Together
from serving_fixtures import write_bundle


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    write_bundle(tmp_path, seed=0)
    return Predictor.open(tmp_path)


@pytest.fixture
def runs(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many frames each run of the network had."""
    sizes: list[int] = []
    read = predictor.probabilities

    def counted(frames_BHW: NDArray[np.uint8]) -> Any:
        sizes.append(len(frames_BHW))
        return read(frames_BHW)

    monkeypatch.setattr(predictor, "probabilities", counted)
    return sizes


def frames(num: int, *, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (num, 28, 28), np.uint8)


async def ask(together: Together, asked: list[NDArray[np.uint8]]) -> list[Any]:
    waiting = [together.probabilities(frames_BHW) for frames_BHW in asked]
    return await asyncio.gather(*waiting, return_exceptions=True)


def test_who_asks_at_once_is_answered_by_one_run_each_with_his_own(
    predictor: Predictor, runs: list[int]
) -> None:
    asked = [frames(num, seed=num) for num in (1, 3, 2)]
    answers = asyncio.run(ask(Together(predictor), asked))
    assert runs == [6]
    for frames_BHW, answer_BK in zip(asked, answers, strict=True):
        assert answer_BK == pytest.approx(predictor.probabilities(frames_BHW), abs=1e-6)


def test_more_than_are_read_best_at_once_are_read_in_turn(
    predictor: Predictor, runs: list[int]
) -> None:
    asked = [frames(8, seed=seed) for seed in range(2 * MOST_AT_ONCE // 8 + 1)]
    answers = asyncio.run(ask(Together(predictor), asked))
    assert runs == [MOST_AT_ONCE, MOST_AT_ONCE, 8]
    for frames_BHW, answer_BK in zip(asked, answers, strict=True):
        assert answer_BK == pytest.approx(predictor.probabilities(frames_BHW), abs=1e-6)


def test_who_asks_alone_waits_for_nobody(predictor: Predictor, runs: list[int]) -> None:
    together = Together(predictor)

    async def one_after_the_other() -> None:
        for seed in range(3):
            await together.probabilities(frames(1, seed=seed))

    asyncio.run(one_after_the_other())
    assert runs == [1, 1, 1]


def test_a_request_that_is_given_up_is_not_read(predictor: Predictor, runs: list[int]) -> None:
    together = Together(predictor)

    async def one_gives_up() -> Any:
        leaving = asyncio.create_task(together.probabilities(frames(1, seed=0)))
        staying = asyncio.create_task(together.probabilities(frames(2, seed=1)))
        asyncio.get_running_loop().call_soon(leaving.cancel)  # after both have asked
        return await staying

    answer_BK = asyncio.run(one_gives_up())
    assert runs == [2]
    assert answer_BK == pytest.approx(predictor.probabilities(frames(2, seed=1)), abs=1e-6)


def test_a_run_that_fails_is_told_to_all_of_it_and_the_next_is_answered(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = Together(predictor)

    def broken(frames_BHW: NDArray[np.uint8]) -> Any:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(predictor, "probabilities", broken)
        answers = asyncio.run(ask(together, [frames(1, seed=0), frames(1, seed=1)]))
    assert [str(answer) for answer in answers] == ["no memory", "no memory"]
    (answer_BK,) = asyncio.run(ask(together, [frames(1, seed=0)]))
    assert answer_BK.shape == (1, 10)
