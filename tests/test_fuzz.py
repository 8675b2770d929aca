"""Requests drawn at random: none makes the service fail, and none leaves anything behind."""

import io
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from digits.serving import limits
from refused_requests import PNG, REFUSED, multipart
from serving_fixtures import Service, drawing
from test_png import heavy

IMAGES = [PNG, drawing(file_format="JPEG"), drawing(file_format="GIF")]
# The service is one for all examples, as it is for all users.
anyhow = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# As headers may hold it.
TEXT = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=40).map(str.strip)
JSONS = st.recursive(st.none() | st.integers() | st.floats() | TEXT, st.lists, max_leaves=8)
PARTS = st.tuples(
    st.sampled_from(["image", "images", "frame", ""]) | TEXT.filter(lambda name: '"' not in name),
    st.none() | st.just("digit.png"),
    st.sampled_from(IMAGES) | st.binary(max_size=200),
)
BODIES = st.one_of(
    st.builds(lambda parts: multipart(*parts), st.lists(PARTS, max_size=4)),
    st.builds(lambda value: {"content": json.dumps(value).encode()}, JSONS),
    st.builds(lambda content: {"content": content}, st.binary(max_size=2000)),
    st.builds(lambda num: {"content": bytes(num)}, st.sampled_from([784, 785, 64, 78400])),
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": TEXT
        | st.sampled_from(
            ["application/octet-stream", "application/json", "multipart/form-data; boundary=cut"]
        ),
        "Accept": TEXT | st.sampled_from(["application/octet-stream", "*/*"]),
        "Authorization": TEXT,
        "Range": st.just("bytes=0-5"),
        "Traceparent": TEXT,
    },
)


@pytest.fixture(scope="module")
def operations(service: Service) -> list[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of all that the service says it can do."""
    paths = service.client.get("/docs.json").json()["paths"]
    return [
        (path, method, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]


@settings(anyhow, max_examples=200)
@given(data=st.data())
def test_no_request_makes_the_service_fail(
    service: Service, operations: list[tuple[str, str, dict[str, Any]]], data: st.DataObject
) -> None:
    """Any of its own operations, with parameters, headers and a body as they may come."""
    path, method, operation = data.draw(st.sampled_from(operations))
    request = data.draw(BODIES)
    headers = {**request.pop("headers", {}), **data.draw(HEADERS)}
    values = TEXT | st.sampled_from(["true", "1", "small", "tiny"])
    names = [parameter["name"] for parameter in operation.get("parameters", [])]
    params = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, values)))
    response = service.client.request(method, path, params=params, headers=headers, **request)
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert str(response.status_code) in operation["responses"], response.text
        assert response.json().keys() == {"error"}


@settings(anyhow, max_examples=60)
@given(
    image=st.sampled_from(IMAGES),
    cuts=st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=4)), max_size=4),
    whole=st.booleans(),
)
def test_no_damage_to_a_request_makes_the_service_fail(
    service: Service, image: bytes, cuts: list[tuple[int, bytes]], whole: bool
) -> None:
    """Bytes of the image, or of the whole multipart body, are overwritten at random."""

    def damaged(content: bytes) -> bytes:
        for place, replacement in cuts:
            place %= len(content)
            content = content[:place] + replacement + content[place + len(replacement) :]
        return content

    request = multipart(("image", "digit.png", image if whole else damaged(image)))
    if whole:
        request["content"] = damaged(request["content"])
    response = service.client.post("/predict", **request)
    assert response.status_code == 200 or 400 <= response.status_code < 500, response.text


def held(service: Service) -> list[tuple[int, float]]:
    """Open files, and memory in MiB, of each worker."""
    processes = [Path(f"/proc/{pid}") for pid in service.worker_pids()]
    pages = [int((process / "statm").read_text().split()[1]) for process in processes]
    files = [len(list((process / "fd").iterdir())) for process in processes]
    return list(zip(files, [page * 4096 / 2**20 for page in pages], strict=True))


def expect_nothing_stays(service: Service, ask: Callable[[], None], *, times: int) -> None:
    """Ask some more, and look whether the workers hold more for it."""
    for _ in range(3):  # what is loaded and allocated once
        ask()
    before = held(service)
    for _ in range(times):
        ask()
    after = held(service)
    assert len(before) == len(after) > 0
    for (files, memory), (files_after, memory_after) in zip(before, after, strict=True):
        assert files_after <= files + 2  # a connection may be open to another worker
        assert memory_after < memory + 50  # MiB, of some hundred that were sent to each


def test_refused_requests_leave_neither_memory_nor_files_behind(service: Service) -> None:
    def refuse() -> None:
        for _, _, request in REFUSED.values():
            service.client.post("/predict", **request)
        # Read to its end before it is refused: one that stayed would be seen.
        refused = service.client.post("/predict", files={"file": bytes(20 * 2**20)})
        assert refused.status_code == 400

    expect_nothing_stays(service, refuse, times=12)
    assert service.client.post("/predict", files={"image": PNG}).status_code == 200


def test_text_beside_the_pixels_of_a_batch_costs_no_memory_and_holds_nobody_up(
    service: Service,
) -> None:
    """A hundred PNGs of 60 kB, each with text that would be 60 MB."""
    image = heavy()
    files = [("images", image)] * limits.MAX_IMAGES
    waited: list[float] = []
    most = [0.0] * limits.WORKERS
    before = [memory for _, memory in held(service)]
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(service.client.post, "/predict_batch", files=files)
        while not batch.done():
            started = time.monotonic()
            httpx.get(f"http://127.0.0.1:{service.port}/livez", timeout=30).raise_for_status()
            waited.append(time.monotonic() - started)
            most = [max(pair) for pair in zip(most, [m for _, m in held(service)], strict=True)]
            time.sleep(0.01)
    assert len(batch.result().json()["predictions"]) == limits.MAX_IMAGES
    assert max(waited) < 1
    grown = [after - earlier for after, earlier in zip(most, before, strict=True)]
    assert max(grown) < 300  # MiB


def test_answered_requests_leave_neither_memory_nor_files_behind(service: Service) -> None:
    """Images of many sizes, ruled ones too, whose tables of lines are kept; photos; frames."""
    sides = iter(range(200, 1_000))
    photo = io.BytesIO()
    Image.effect_noise((3_000, 2_000), 60).save(photo, "JPEG")
    frames = bytes(1024 * 28 * 28)

    def ask() -> None:
        octets = {"Content-Type": "application/octet-stream"}
        requests: list[tuple[str, dict[str, Any]]] = [
            ("/predict", {"files": {"image": photo.getvalue()}}),
            ("/classify", {"content": frames, "headers": octets}),
        ]
        for _ in range(5):
            side = next(sides)
            ruled = Image.new("L", (side, side + 20), 235)
            for y in range(0, side, 30):
                ruled.paste(150, (0, y, side, y + 2))
            picture = io.BytesIO()
            ruled.save(picture, "PNG")
            requests.append(("/predict", {"files": {"image": picture.getvalue()}}))
        for path, request in requests:
            assert service.client.post(path, **request).status_code == 200

    expect_nothing_stays(service, ask, times=30)
