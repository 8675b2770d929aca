"""Training as a person runs it: at once, interrupted and gone on with, and in sweeps."""

import shutil
import signal
from collections.abc import Iterator

import pytest

from stores import mlflow_client
from training_fixtures import (
    TINY,
    Project,
    Training,
    checkpoints,
    interrupted_run,
    steps,
    stored_run,
)


def test_a_training_says_a_line_an_epoch_and_one_at_the_end(project: Project) -> None:
    training = project.train(*TINY, "training.epochs=2", "out=said")
    assert training.ended() == 0, training.said()
    assert training.complaint() == (
        "cnn: only 80 steps of training, which is too few to learn much; give it more by "
        "training.epochs or a smaller training.batch_size"
    )
    opening, layers, first, second, result = training.stdout.read_text().splitlines()
    assert opening.startswith("cnn: 2,203 parameters, 640 images, 2 epochs of 40 steps on cpu ")
    assert layers.startswith("cnn: 28x28, conv ")
    assert layers.endswith(", dense 11 (the last for what is none of the classes)")
    assert first.startswith("cnn epoch 1/2  loss ")
    assert second.startswith("cnn epoch 2/2  loss ")
    assert result.startswith("cnn: 2,203 parameters, as exported it reads ")
    assert project.run_id("said") in result


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(trained: Project) -> None:
    same = trained.train(*TINY, "out=same")
    other = trained.train(*TINY, "seed=2", "out=other")
    assert (same.ended(), other.ended()) == (0, 0), same.said() + other.said()
    assert trained.bundle("same") == trained.bundle("trained")
    assert trained.bundle("other").keys() == trained.bundle("trained").keys()
    assert trained.bundle("other")["model.onnx"] != trained.bundle("trained")["model.onnx"]


def test_an_interrupted_training_goes_on_in_the_same_run_to_the_same_bytes(
    trained: Project,
) -> None:
    before = checkpoints(trained)
    hint = "the same command goes on after the last finished epoch"

    def start() -> Training:
        return trained.train(*TINY, "out=resumed")

    training = start().reached("epoch 1/4")
    assert training.signalled(signal.SIGINT) == 130
    assert training.complaint() == f"train: stopped by SIGINT; {hint}"
    run_id = interrupted_run(trained, before)
    assert stored_run(trained, run_id).info.status == "KILLED"

    training = start().reached("epoch 2/4")
    assert training.stdout.read_text().splitlines()[2] == "cnn: going on after epoch 1"
    assert stored_run(trained, run_id).info.status == "RUNNING"
    assert training.signalled(signal.SIGTERM) == 143
    assert training.complaint() == f"train: stopped by SIGTERM; {hint}"
    assert stored_run(trained, run_id).info.status == "KILLED"

    training = start().reached("epoch 3/4")
    assert training.signalled(signal.SIGKILL) == -signal.SIGKILL
    assert trained.bundle("resumed") == {}

    training = start()
    assert training.ended() == 0, training.said()
    lines = training.stdout.read_text().splitlines()
    assert lines[2] == "cnn: going on after epoch 3"
    assert lines[3].startswith("cnn epoch 4/4 ")
    assert len(lines) == 5
    assert trained.run_id("resumed") == run_id
    assert stored_run(trained, run_id).info.status == "FINISHED"
    assert steps(trained, run_id) == [1, 2, 3, 4]
    assert trained.bundle("resumed") == trained.bundle("trained")
    assert checkpoints(trained) == before


@pytest.fixture
def interrupted(project: Project) -> Iterator[Project]:
    """The project with a training killed after its first epoch; forgotten afterwards."""
    before = checkpoints(project)
    training = project.train(*TINY, "out=interrupted").reached("epoch 1/4")
    assert training.signalled(signal.SIGKILL) == -signal.SIGKILL
    yield project
    for run_id, path in checkpoints(project).items():
        if run_id not in before:
            shutil.rmtree(path.parent)


def test_a_damaged_checkpoint_is_named_and_the_training_starts_anew(
    trained: Project, interrupted: Project
) -> None:
    (checkpoint,) = checkpoints(interrupted).values()
    checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    training = interrupted.train(*TINY, "out=mended")
    assert training.ended() == 0, training.said()
    damaged = checkpoint.relative_to(interrupted.folder)
    assert training.complaint() == f"cnn: {damaged} is damaged, starting anew"
    assert training.stdout.read_text().splitlines()[2].startswith("cnn epoch 1/4 ")
    assert steps(interrupted, interrupted.run_id("mended")) == [1, 2, 3, 4]
    assert interrupted.bundle("mended") == trained.bundle("trained")


def test_resume_false_and_another_hyperparameter_each_start_anew_in_a_run_of_their_own(
    interrupted: Project,
) -> None:
    before = checkpoints(interrupted)
    changed = interrupted.train(*TINY, "optimizer.lr=0.007").reached("epoch 1/4")
    changed.signalled(signal.SIGKILL)
    assert "going on" not in changed.said()
    assert checkpoints(interrupted).keys() > before.keys()

    anew = interrupted.train(*TINY, "resume=false").reached("epoch 1/4")
    anew.signalled(signal.SIGKILL)
    assert "going on" not in anew.said()
    assert not checkpoints(interrupted).keys() & before.keys()


def test_a_gpu_that_is_not_there_is_told_of_before_anything_is_logged(project: Project) -> None:
    before = checkpoints(project)
    training = project.train(*TINY, "trainer=gpu", "out=gpu", CUDA_VISIBLE_DEVICES="")
    assert training.ended() == 1
    assert training.complaint() == (
        "train: trainer=gpu needs a CUDA GPU and torch sees none here; "
        "use trainer=auto, or see `nvidia-smi`"
    )
    assert checkpoints(project) == before


def test_a_sweep_trains_each_combination_and_one_that_fails_does_not_cost_the_others(
    project: Project,
) -> None:
    training = project.train(
        "-m",
        "model=mlp,cnn",
        "optimizer.lr=0.01,1e30",
        "training.epochs=1",
        "training.batch_size=32",
        "hydra.sweep.dir=swept",
        MLFLOW_EXPERIMENT_NAME="swept",
    )
    assert training.ended() == 1
    said = training.stderr.read_text().splitlines()
    complaints = [line for line in said if line.startswith("train: ")]
    assert len(complaints) == 3, training.said()
    assert "lower optimizer.lr" in complaints[0]
    assert complaints[2] == "train: 2 of the sweep's trainings failed, see above"

    bundles = sorted(path.parent.name for path in (project.folder / "swept").glob("*/bundle"))
    assert [name[:28] for name in bundles] == [
        "model=cnn,optimizer.lr=0.01,",
        "model=mlp,optimizer.lr=0.01,",
    ]
    client = mlflow_client(project.tracking_uri)
    experiment = client.get_experiment_by_name("swept")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    trainings = [run for run in runs if "model" in run.data.tags]  # and their parent
    ended = sorted((run.data.tags["model"], run.info.status) for run in trainings)
    assert ended == [("cnn", "FAILED"), ("cnn", "FINISHED"), ("mlp", "FAILED"), ("mlp", "FINISHED")]


@pytest.mark.parametrize(
    ("override", "status", "complaint"),
    [
        ("training.epochs=0", 2, "train: training.epochs must be an integer >= 1, got 0"),
        (
            "prepared=nowhere",
            1,
            "train: nowhere/data.json is missing; run `dvc repro prepare synthesize`",
        ),
        (
            "data=optdigits",
            1,
            "train: data/optdigits/prepared/data.json is missing; the pipeline's data is another: "
            "run `python -m digits.fetch --data optdigits`, then",
        ),
        ("+augment.foo=2", 2, "train: Error in call to target 'digits.learning.augment.Chain'"),
    ],
)
def test_a_setting_that_cannot_work_is_one_sentence(
    override: str, status: int, complaint: str, project: Project
) -> None:
    training = project.train(*TINY, override, "out=refused")
    assert training.ended() == status
    assert training.complaint().startswith(complaint)
