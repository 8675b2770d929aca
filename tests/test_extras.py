"""Drawn images in a batch: how many, with which labels, and what is learnt from them.

B batch, H/W pixels, K classes.
"""

import csv
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from digits.learning.data import DigitsDataModule
    from digits.learning.extras import Extra, read_extras
from digits.reading.predictor import Predictor
from training_fixtures import TINY, Project, make_project

WANTED = {"num_classes": 10, "nondigits_until": 1, "nondigits_late": 0}


@pytest.fixture
def project(forkserver: None, tmp_path: Path) -> Project:
    return make_project(tmp_path, num_train=40, num_val=10)


def extra(label: int, *, share: float, grey: int) -> Extra:
    images = np.full((3, 28, 28), grey, np.uint8)
    return Extra(images=images, labels=np.full(3, label), share=share)


def test_each_batch_has_its_share_of_every_extra(project: Project) -> None:
    extras = [extra(7, share=0.5, grey=1), extra(10, share=0.25, grey=2)]
    data = DigitsDataModule(
        project.folder / "data/mnist/prepared", batch_size=8, seed=1, extras=extras
    )
    data.setup("fit")
    assert data.steps_per_epoch == 5
    ((frames_SBHW, labels_SB),) = data.train_dataloader()
    assert labels_SB.shape == (5, 8 + 4 + 2)
    assert (labels_SB[:, 8:12] == 7).all()
    assert (frames_SBHW[:, 8:12] == 1).all()
    assert (labels_SB[:, 12:] == 10).all()
    assert (frames_SBHW[:, 12:] == 2).all()
    # The training images are all there, each once.
    own = {frame.numpy().tobytes() for frame in frames_SBHW[:, :8].flatten(0, 1)}
    assert own == {frame.tobytes() for frame in data.arrays["train_images"]}
    assert len(data.arrays["train_labels"]) == 40


def test_the_last_epochs_have_fewer_non_digits(project: Project) -> None:
    images, labels = np.zeros((3, 28, 28), np.uint8), np.full(3, 10)
    late = Extra(images=images, labels=labels, share=0.5, until=0.6, late=0.25)
    assert [late.num(8, progress=epoch / 5) for epoch in range(5)] == [4, 4, 4, 1, 1]
    gone = Extra(images=images, labels=labels, share=0.5, until=0.6)
    assert [gone.num(8, progress=epoch / 5) for epoch in range(5)] == [4, 4, 4, 0, 0]
    trained = project.train(
        *(*TINY, "training.epochs=2", "out=late", "synthetic.digits=0.5"),
        *(
            "synthetic.nondigits=0.25",
            "synthetic.nondigits_until=0.5",
            "synthetic.nondigits_late=0",
        ),
    )
    assert trained.ended() == 0, trained.said()
    with (project.folder / "late/history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    seen = [round(float(row["images_per_s"]) * float(row["epoch_s"])) for row in rows]
    assert seen == [2 * (16 + 8 + 4), 2 * (16 + 8)]  # steps of training images and extras


def test_only_what_is_wanted_and_there_is_read(project: Project, tmp_path: Path) -> None:
    path = project.folder / "data/mnist/synthetic.npz"
    digits, others = read_extras(path, digits=0.5, nondigits=0.25, **WANTED)
    assert (len(digits.images), digits.share, set(digits.labels)) == (50, 0.5, {*range(10)})
    assert (len(others.images), others.share, set(others.labels)) == (50, 0.25, {10})
    (only,) = read_extras(path, digits=0, nondigits=1, **WANTED)
    assert set(only.labels) == {10}
    assert read_extras(tmp_path / "nowhere.npz", digits=0, nondigits=0, **WANTED) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing; run `dvc repro synthesize`"),
        (b"PK\x03\x04", r"is damaged \(.*dvc repro -sf synthesize"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "synthetic.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((FileNotFoundError, ValueError), match=re.escape(str(path)) + f" {message}"):
        read_extras(path, digits=1, nondigits=1, **WANTED)


def test_a_training_asks_for_drawn_images_only_where_there_are_some(project: Project) -> None:
    """A data set that has none is trained on as it is; a file that is missing is named."""
    (project.folder / "data/mnist/synthetic.npz").unlink()
    wanted = project.train(*TINY, "out=wanted")
    assert wanted.ended() == 1
    assert "synthetic.npz is missing; run `dvc repro synthesize`" in wanted.said()
    without = project.train(
        *TINY, "training.epochs=1", "data.synthetic={digits:0,nondigits:0}", "out=without"
    )
    assert without.ended() == 0, without.said()
    assert json.loads(project.bundle("without")["model.json"])["network"]["num_outputs"] == 10


def test_a_network_that_saw_non_digits_answers_the_classes_and_knows_the_others(
    project: Project,
) -> None:
    trained = project.train(*TINY, "training.epochs=8", "out=open")
    assert trained.ended() == 0, trained.said()
    predictor = Predictor.open(project.folder / "open/bundle")
    assert predictor.meta["network"]["num_outputs"] == 11
    with np.load(project.folder / "data/mnist/synthetic.npz") as arrays:
        digits, others = arrays["images"], arrays["nondigits"]
    assert predictor.outputs(digits).shape == (50, 11)
    assert predictor.probabilities(digits).shape == (50, 10)
    assert predictor.accepts(digits).mean() > 0.5
    assert predictor.accepts(others).mean() < 0.1


def test_a_teacher_that_has_not_learnt_what_is_no_digit_cannot_teach_it(project: Project) -> None:
    assert project.train(*TINY, "synthetic=none", "training.epochs=1", "out=closed").ended() == 0
    taught = project.train(*TINY, "training.teacher=closed/bundle", "out=student")
    assert taught.ended() == 1
    assert "closed/bundle has not learnt what is no digit" in taught.said()
