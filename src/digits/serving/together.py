"""Read the frames of several requests in one run of the network.

Shapes: B batch, H/W pixels, K classes.
"""

import asyncio

import numpy as np
from numpy.typing import NDArray

from ..reading.predictor import MOST_AT_ONCE, Predictor


class Together:
    """What has arrived at the same moment is read together; nobody waits for others to come.

    A run has a cost of its own, as much as half a frame's, and so has waking Python after it: busy
    clients share them.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._waiting: list[tuple[NDArray[np.uint8], asyncio.Future[NDArray[np.float64]]]] = []

    async def probabilities(self, frames_BHW: NDArray[np.uint8]) -> NDArray[np.float64]:
        """As `Predictor.probabilities`: (B, H, W) uint8 frames → (B, K)."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._read)  # after all that the loop is about to do already
        answer: asyncio.Future[NDArray[np.float64]] = loop.create_future()
        self._waiting.append((frames_BHW, answer))
        return await answer

    def _read(self) -> None:
        """Answer who came first, with about as many frames as are read best at once."""
        now: list[NDArray[np.uint8]] = []
        answers = []
        while self._waiting and sum(map(len, now)) < MOST_AT_ONCE:
            frames_BHW, answer = self._waiting.pop(0)
            if not answer.done():  # its request may have been given up
                now.append(frames_BHW)
                answers.append(answer)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._read)
        if not now:
            return
        try:
            probabilities_BK = self._predictor.probabilities(np.concatenate(now))
        except Exception as error:  # each is told, as it would be alone
            for answer in answers:
                answer.set_exception(error)
            return
        ends = np.cumsum([len(frames_BHW) for frames_BHW in now])
        for answer, part_BK in zip(answers, np.split(probabilities_BK, ends[:-1]), strict=True):
            answer.set_result(part_BK)
