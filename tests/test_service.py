"""The built Bento, served outside the repository by a Python that has neither digits nor torch."""

import base64
import io
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import digits.serving
from digits.reading.normalize import read_frame
from digits.reading.predictor import IDENTITY, Predictor
from digits.serving import limits
from serving_fixtures import (
    METRICS,
    SAMPLES,
    SELECTED,
    SMALL_RUN,
    SMALL_SIZE,
    Packaged,
    Service,
    drawing,
)


def test_the_service_needs_neither_digits_nor_torch_to_be_installed(
    service: Service, bento_python: Path
) -> None:
    for name in ("digits", "torch", "mlflow", "dvc", "hydra"):
        command = [bento_python, "-c", f"import {name}"]
        refused = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
        assert f"No module named '{name}'" in refused.stderr
    assert service.client.get("/readyz").status_code == 200


def test_no_worker_has_loaded_torch(service: Service) -> None:
    service.client.post("/predict", files={"image": drawing()})
    pids = service.worker_pids()
    assert len(pids) == limits.WORKERS
    for pid in pids:
        libraries = Path(f"/proc/{pid}/maps").read_text()
        assert "onnxruntime" in libraries
        assert "torch" not in libraries


def test_an_image_is_answered_as_the_predictor_answers_it(
    service: Service, packaged: Packaged
) -> None:
    predictor = Predictor.open(packaged.bundle)
    for tilt in (-20, 0, 20):
        image = drawing(tilt=tilt)
        response = service.client.post("/predict", files={"image": ("digit.png", image)})
        assert response.status_code == 200
        answer = response.json()
        identity = {key: SELECTED[key] for key in ("version", "run_id", "git_commit")}
        digest = f"sha256:{0:064x}"
        assert answer.pop("model") == {"name": "tiny", **identity, "data_digest": digest}
        (expected,) = predictor.answers(read_frame(image)[np.newaxis])
        assert answer.pop("probabilities") == pytest.approx(expected.pop("probabilities"))
        assert answer.pop("confidence") == pytest.approx(expected.pop("confidence"))
        assert answer.pop("row") == []
        assert answer == expected


def test_a_batch_is_answered_in_order(service: Service) -> None:
    images = [drawing(tilt=tilt) for tilt in (-20, -10, 0, 10, 20)]
    files = [("images", (f"{index}.png", image)) for index, image in enumerate(images)]
    response = service.client.post("/predict_batch", files=files)
    assert response.status_code == 200
    content = response.json()
    alone = [service.client.post("/predict", files={"image": image}).json() for image in images]
    models = [answer.pop("model") for answer in alone]
    assert content["model"] == models[0]
    for batched, single in zip(content["predictions"], alone, strict=True):
        assert batched["digit"] == single["digit"]
        assert batched["probabilities"] == pytest.approx(single["probabilities"], rel=1e-5)
    assert len({round(answer["confidence"], 6) for answer in alone}) > 1


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_common_image_formats_are_read(service: Service, file_format: str, mode: str) -> None:
    image = drawing(mode=mode, file_format=file_format)
    response = service.client.post("/predict", files={"image": image})
    assert response.status_code == 200, response.text
    expected = service.client.post("/predict", files={"image": drawing()}).json()
    assert response.json()["probabilities"] == pytest.approx(expected["probabilities"], abs=0.05)


def test_the_model_route_gives_the_lineage_and_the_test_metrics(
    service: Service, packaged: Packaged
) -> None:
    content = service.client.get("/model").json()
    assert content.pop("classes") == list(range(10))
    assert content.pop("released") is False
    assert content.pop("models") == ["tiny", "small"]
    assert content == json.loads((packaged.project / "served/lineage.json").read_text())
    assert content["metrics"] == METRICS


def test_another_packaged_model_answers_where_it_is_asked_for(service: Service) -> None:
    lineage = service.client.get("/model?model=small").json()
    assert (lineage["name"], lineage["run_id"]) == ("small", SMALL_RUN["run_id"])
    assert lineage.keys() == service.client.get("/model").json().keys()
    file = {"image": drawing()}
    answer = service.client.post("/predict?frame=true&model=small", files=file).json()
    assert answer["model"]["run_id"] == SMALL_RUN["run_id"]
    assert len(base64.b64decode(answer["frame"])) == SMALL_SIZE**2
    batch = service.client.post("/predict_batch?model=small", files={"images": drawing()}).json()
    assert batch["model"] == answer["model"]
    assert batch["predictions"][0]["probabilities"] == answer["probabilities"]
    octets = {"Content-Type": "application/octet-stream"}
    frame = base64.b64decode(answer["frame"])
    found = service.client.post("/classify?model=small", content=frame, headers=octets).json()
    assert found["digits"] == [answer["digit"]]


@pytest.mark.parametrize("path", ["/predict", "/predict_batch", "/classify", "/model"])
def test_a_model_that_is_not_packaged_is_refused_with_those_that_are(
    service: Service, path: str
) -> None:
    method = "GET" if path == "/model" else "POST"
    response = service.client.request(method, f"{path}?model=nobody")
    assert response.status_code == 404
    assert response.json() == {"error": "there is no model 'nobody'; there is tiny, small"}


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_page_calls_no_other_host_and_finds_its_files(service: Service, path: str) -> None:
    response = service.client.get(path)
    assert response.headers["content-type"].startswith("text/html")
    addresses = re.findall(r'(?:src|href)="([^"]*)"', response.text)
    for address in addresses:
        if not address.startswith("data:"):
            assert address.startswith("/")
            assert service.client.get(address).status_code == 200, address
    assert len(addresses) > 3


def test_the_page_runs_its_own_scripts_alone_and_is_shown_in_no_frame(service: Service) -> None:
    for path in ("/", "/web/page.js", "/web/page.css"):
        headers = service.client.get(path).headers
        rules = dict(
            rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";")
        )
        assert rules["default-src"] == rules["frame-ancestors"] == "'none'"
        assert rules["script-src"] == rules["connect-src"] == "'self'"
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_is_under_60_kilobytes(service: Service) -> None:
    web = Path(digits.serving.__file__).parent / "web"
    assert sum(path.stat().st_size for path in web.iterdir()) < 60_000
    for path in web.iterdir():
        assert service.client.get(f"/web/{path.name}").content == path.read_bytes()


def test_what_the_model_saw_comes_with_the_answer_when_asked_for(service: Service) -> None:
    answer = service.client.post("/predict?frame=true", files={"image": drawing()}).json()
    frame_HW = np.frombuffer(base64.b64decode(answer["frame"]), np.uint8).reshape(28, 28)
    assert (frame_HW == read_frame(drawing())).all()
    assert "frame" not in service.client.post("/predict", files={"image": drawing()}).json()


@pytest.mark.parametrize("num", [1, limits.FRAMES_IN_PLACE, limits.FRAMES_IN_PLACE + 1, 300])
def test_frames_are_classified_as_json_or_as_bytes(
    service: Service, packaged: Packaged, num: int
) -> None:
    frames_BHW = np.random.default_rng(num).integers(0, 256, (num, 28, 28), np.uint8)
    expected_BK = Predictor.open(packaged.bundle).probabilities(frames_BHW)
    octets = {"Content-Type": "application/octet-stream"}
    body = frames_BHW.tobytes()
    content = service.client.post("/classify", content=body, headers=octets).json()
    assert content["digits"] == expected_BK.argmax(axis=1).tolist()
    np.testing.assert_allclose(content["probabilities"], expected_BK, atol=1e-6)
    assert content["model"] == {key: SELECTED.get(key) for key in IDENTITY} | {
        "name": "tiny",
        "data_digest": f"sha256:{0:064x}",
    }
    octets["Accept"] = "application/octet-stream"
    response = service.client.post("/classify", content=body, headers=octets)
    assert response.headers["content-type"] == "application/octet-stream"
    answers_BK = np.frombuffer(response.content, "<f4").reshape(num, 10)
    np.testing.assert_allclose(answers_BK, expected_BK, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "sentence"),
    [
        (b"", "application/octet-stream", 400, "the body has 0 bytes; send one or more frames"),
        (bytes(783), "application/octet-stream", 400, "frames of 28x28 = 784 bytes each"),
        (bytes(784), "image/png", 415, "send application/octet-stream of 784 bytes a frame"),
        (
            bytes(784 * (limits.MAX_FRAMES + 1)),
            "application/octet-stream",
            413,
            "larger than 3 MiB",
        ),
    ],
    ids=["nothing", "a byte less", "of another type", "too many"],
)
def test_what_are_no_frames_is_refused_in_one_sentence(
    service: Service, body: bytes, content_type: str, status: int, sentence: str
) -> None:
    headers = {"Content-Type": content_type}
    response = service.client.post("/classify", content=body, headers=headers)
    assert response.status_code == status
    assert sentence in response.json()["error"]
    in_chunks = (body[start : start + 1000] for start in range(0, len(body), 1000))
    response = service.client.post("/classify", content=in_chunks, headers=headers)
    assert response.status_code == status


def test_a_blank_image_is_answered_but_not_accepted(service: Service) -> None:
    buffer = io.BytesIO()
    Image.new("L", (50, 50), 255).save(buffer, "PNG")
    files = [("images", drawing()), ("images", buffer.getvalue())]
    drawn, blank = service.client.post("/predict_batch", files=files).json()["predictions"]
    assert (drawn["accepted"], drawn["reason"]) == (True, None)
    assert (blank["accepted"], blank["reason"]) == (False, "blank")
    assert blank["digit"] in range(10)


def test_the_samples_are_those_that_were_packaged(service: Service) -> None:
    assert service.client.get("/samples").json() == {"samples": SAMPLES}


def test_predictions_are_counted_in_the_metrics(service: Service) -> None:
    def counted(name: str) -> float:
        lines = service.client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    answer = service.client.post("/predict", files={"image": drawing()}).json()
    names = [
        f'digits_predictions_total{{digit="{answer["digit"]}",reason=""}}',
        "digits_confidence_count",
        "digits_normalize_seconds_count",
        "digits_model_seconds_count",
    ]
    before = [counted(name) for name in names]
    for _ in range(8):  # so that more than one worker answers
        service.client.post("/predict", files={"image": drawing()})
    assert [counted(name) - earlier for name, earlier in zip(names, before, strict=True)] == [8] * 4
    # What is asked of another model is no answer of this one.
    service.client.post("/predict?model=small", files={"image": drawing()})
    assert counted("digits_confidence_count") - before[1] == 8
    model = f'name="tiny",run_id="{SELECTED["run_id"]}",version="{SELECTED["version"]}"'
    assert counted(f"digits_model_info{{{model}}}") == 1
    predicted = 'digits_request_seconds_count{route="/predict",status="200"}'
    assert counted(predicted) > 8


def test_frames_that_nobody_asked_to_be_judged_do_not_count_as_accepted(service: Service) -> None:
    def counted() -> dict[str, float]:
        lines = service.client.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith("digits_predictions_total")]
        return {line.split()[0]: float(line.split()[1]) for line in found}

    before = counted()
    octets = {"Content-Type": "application/octet-stream"}
    service.client.post("/classify", content=bytes(5 * 784), headers=octets)
    after = counted()
    grown = {name: after[name] - before.get(name, 0) for name in after}
    (changed,) = [name for name, more in grown.items() if more]
    assert 'reason="unjudged"' in changed
    assert grown[changed] == 5


def test_paths_that_nobody_knows_fill_no_memory(service: Service) -> None:
    for path in ("/nothing/1", "/nothing/2", "/web/nothing"):
        missing = service.client.get(path)
        assert missing.status_code == 404
        sentence = f"{path} is not there; the page is at /, the routes at /docs"
        assert missing.json() == {"error": sentence}
    text = service.client.get("/metrics").text
    assert "nothing" not in text
    assert 'digits_request_seconds_count{route="other",status="404"}' in text


def test_only_this_machine_is_listened_to_unless_told(service: Service) -> None:
    listening = {
        fields[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[3] == "0A"
    }
    assert f"0100007F:{service.port:04X}" in listening
    assert f"00000000:{service.port:04X}" not in listening


def test_it_is_ready_soon(service: Service) -> None:
    # 3 s on an idle 2-core machine; the margin is for a busy one.
    assert service.start_s < 30
