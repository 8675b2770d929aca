"""What is beyond the number of requests that a worker holds."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from digits.reading.predictor import IDENTITY, Predictor
from digits.serving import limits
from digits.serving.app import build_app, open_model
from digits.serving.models import Model
from serving_fixtures import write_bundle


def test_too_many_requests_at_once_are_told_to_come_back_and_then_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_CONCURRENT", 2)
    write_bundle(tmp_path, seed=0)
    app = build_app()
    lineage = {"tag": "digits:0", **dict.fromkeys(IDENTITY)}
    open_model(app, Model(Predictor.open(tmp_path), lineage))
    headers = {"Content-Type": "application/octet-stream"}

    async def ask() -> tuple[httpx.Response, list[httpx.Response], httpx.Response]:
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def slow_body() -> AsyncIterator[bytes]:
            yield bytes(400)
            arrived.set()
            await go_on.wait()
            yield bytes(384)

        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://digits") as client:
            held = []
            for _ in range(2):
                arrived.clear()
                post = client.post("/classify", content=slow_body(), headers=headers)
                held.append(asyncio.create_task(post))
                await arrived.wait()
            refused = await client.get("/model")
            go_on.set()
            return refused, [await task for task in held], await client.get("/model")

    refused, held, after = asyncio.run(ask())
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == str(limits.RETRY_AFTER_S)
    assert refused.json()["error"].startswith("2 requests are being answered already")
    assert [response.status_code for response in held] == [200, 200]
    assert after.status_code == 200
