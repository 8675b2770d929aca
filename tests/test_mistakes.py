"""What is not known is answered by one line that names it and the nearest known, and status 2."""

import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from digits import compose, fetch, prepare, selection, synthesize
from digits.commands import main
from stores import mlflow_client, new_store
from training_fixtures import ROOT, TINY, Project

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
RUNS = ("cnn seed=1", "mlp seed=1")
DIGEST = "sha256:" + "0123456789abcdef" * 4
STAGES = {
    "fetch": fetch,
    "prepare": prepare,
    "synthesize": synthesize,
    "compose": compose,
    "selection": selection,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two runs, the first of them version 1 and champion, and a bundle of theirs."""
    folder = tmp_path_factory.mktemp("mistaken")
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / "models/cnn/bundle").mkdir(parents=True)
    (folder / "models/cnn/bundle/model.json").write_text("{}")
    client = mlflow_client(new_store(folder / "mlflow.db"))
    experiment = client.create_experiment("digits", (folder / "files").as_uri())
    client.create_registered_model("digits")
    for name in RUNS:
        tags = {"model": name.split()[0], "dataset": "mnist", "data_digest": DIGEST}
        run_id = client.create_run(experiment, run_name=name, tags=tags).info.run_id
        client.log_param(run_id, "optimizer.lr", 0.01)
        if name == RUNS[0]:
            client.create_model_version("digits", "somewhere", run_id=run_id)
    client.set_registered_model_alias("digits", "champion", "1")
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("runs --where modle=cnn", "no run has 'modle'; did you mean 'model'?"),
        ("runs --where model=cn", "no run has model=cn; there is model=cnn"),
        ("runs --where model=CNN", "no run has model=CNN; there is model=cnn"),
        ("runs --where dataset=mnst", "no run has dataset=mnst; there is dataset=mnist"),
        ("runs --where status=finishd", "no run has status=finishd; there is status=finished"),
        ("compare champoin v1", "there is no run 'champoin'; did you mean 'champion'?"),
        ("compare v1 mpl", "there is no run 'mpl'; did you mean 'mlp seed=1'?"),
        ("compare v7 v1", "there is no run 'v7'; there is v1"),
        (
            "compare v1 nothing",
            "there is no run 'nothing'; the latest are 'mlp seed=1' and 'cnn seed=1'; `digits "
            "runs` lists them",
        ),
        ("compare v1 nonsense", "there is no run 'nonsense'; the latest are"),
        ("adopt cnn", "trained here is called so; did you mean 'cnn seed=1'?"),
        ("promote v2 --because so", "there is no run 'v2'; there is v1"),
        ("promote chalenger --because so", "no run 'chalenger'; did you mean 'challenger'?"),
        ("rollback --because so", "there is no champion to go back to; `digits history` lists"),
        ("lineage 7", "there is no run '7'; there is v1"),
        ("lineage sha256:ffffffff", "with the digest sha256:ffffffff; there is sha256:01234567"),
        ("predict --model models/cn/bundle docs/seven.jpg", "a bundle is in models/cnn/bundle"),
    ],
)
def test_a_command_names_what_is_nearest(words: str, sentence: str) -> None:
    result = CliRunner().invoke(main, words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("sumary", "No such command 'sumary'. Did you mean 'summary'?"),
        ("history --jsn", "No such option '--jsn'. Did you mean '--json'?"),
        ("runs --sort tset", "'tset' is not one of 'validation', 'test'"),
    ],
)
def test_an_unknown_command_or_option_comes_with_the_usage(words: str, sentence: str) -> None:
    result = CliRunner().invoke(main, words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr.splitlines()[-1]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "changed", "sentence"),
    [
        (
            "fetch --data mnst",
            {},
            "'mnst' is not in conf/data (mnist, optdigits); did you mean 'mn",
        ),
        ("fetch", {"name: mnist ": "name: mnst "}, "did you mean 'mnist'?"),
        ("prepare --data mnst", {}, "did you mean 'mnist'?"),
        ("synthesize --data mnst", {}, "did you mean 'mnist'?"),
        ("compose --out c", {"[mlp,": "[mpl,"}, "model=mpl is not there; there is model=mlp"),
        (
            "compose --out c",
            {"val_size:": "val_siez:"},
            "val_siez is unknown; did you mean val_size",
        ),
        ("compose --out c", {"seed: 1": "sed: 1\nseed: 1"}, "sed is unknown; did you mean seed?"),
        (
            "compose --out c",
            {"seed: 1": "other: 1\nseed: 1"},
            "other is unknown; it has candidates",
        ),
        (
            "selection --models models --out s.json",
            {"[mlp,": "[mpl,"},
            "'mpl' is no model of conf/model; there is mlp",
        ),
    ],
)
def test_a_stage_names_what_is_nearest(
    words: str,
    changed: dict[str, str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    params = Path("params.yaml")
    for old, new in changed.items():
        assert old in params.read_text()
        params.write_text(params.read_text().replace(old, new))
    stage, *arguments = words.split()
    monkeypatch.setattr("sys.argv", [stage, *arguments])
    with pytest.raises(SystemExit) as stopped:
        sys.exit(STAGES[stage].main())
    said = capsys.readouterr()
    assert (stopped.value.code, said.out) == (2, "")
    assert sentence in said.err
    assert said.err.count("\n") == 1


def folders(project: Project) -> set[Path]:
    """Of trainings and sweeps."""
    return {*project.folder.glob("outputs/*"), *project.folder.glob("multirun/*")}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("model=cn", "model=cn is not there; there is model=cnn"),
        ("augment=nnoe", "augment=nnoe is not there; there is augment=none"),
        ("data=mnst", "data=mnst is not there; there is data=mnist"),
        ("experiment=speed_9", "there is experiment=speed_99, speed_99_7 or speed_99_5"),
        ("+experiment=speed_9", "there is experiment=speed_99, speed_99_7 or speed_99_5"),
        ("-m model=mlp,lenet", "model=lenet is not there; there is model=lenet5"),
        ("-m seed=1 training.epochs=1,2 +training.epoch=1", "did you mean training.epochs?"),
        ("-m model=glob(lenett*)", "model=glob(lenett*) is nothing at all"),
        ("-m seed=1,2,1", "seed=1,2,1 has 1 twice; name each value once"),
        ("model=mlp out=", "out= names no folder; give one, such as out=models/mine"),
        ("-m seed=1,a", "seed must be an integer >= 0, got 'a'"),
        ("-m optimizer.lr=interval(0.1,0.2)", "lr=interval(0.1,0.2) is for a search: hydra/sweep"),
        ("-m hydra/sweeper=optuna model=mlp,lenet", "there is model=lenet5"),
        ("-m hydra/sweeper=optuna model=mlp", "nothing is searched; give a key a choice"),
        ("-m hydra/sweeper=optuna seed=1,2 hydra.sweeper.num_trials=0", "integer >= 1, got 0"),
        ("-m hydra/sweeper=optuna optimizer.lr=interval(0.2,0.1)", "lr=interval(0.2,0.1): `low <="),
        ("-m hydra/launcher=joblb", "there is hydra/launcher=joblib"),
        ("-m hydra/sweeper=optna", "there is hydra/sweeper=optuna"),
        ("hydra/lancher=basic", "no 'hydra/lancher'; did you mean hydra/launcher?"),
        ("hydra.sweep.dri=x", "no 'hydra.sweep.dri'; did you mean hydra.sweep.dir?"),
        ("modle=cnn", "the configuration has no 'modle'; did you mean model?"),
        ("+modle=cnn", "the configuration has no 'modle'; did you mean model?"),
        ("trainign.epochs=1", "no 'trainign'; did you mean training or trainer?"),
        ("training.epoch=1", "no 'training.epoch'; did you mean training.epochs?"),
        ("+training.epoch=1", "no 'training.epoch'; did you mean training.epochs?"),
        ("++training.epoch=1", "no 'training.epoch'; did you mean training.epochs?"),
        ("-m +training.epoch=1,2", "no 'training.epoch'; did you mean training.epochs?"),
        ("~training.epoch", "no 'training.epoch'; did you mean training.epochs?"),
        (
            "optimizer.weigth_decay=1",
            "the configuration has no 'optimizer.weigth_decay'; "
            "did you mean optimizer.weight_decay?",
        ),
        ("+optimizer.lrr=1", "no 'optimizer.lrr'; did you mean optimizer.lr?"),
        ("+model.network.norms=1", "no 'model.network.norms'; did you mean model.network.norm?"),
        ("optimizer._target_=torch.optim.Adamm", "did you mean torch.optim.Adam or torch.optim."),
        ("optimizer._target_=troch.Adam", "optimizer._target_=troch.Adam is not there: No module"),
        ("colour=red", "the configuration has no 'colour'; it has augment, data, fold"),
        ("trainer.acelerator=cpu", "did you mean trainer.accelerator?"),
        ("trainer.accelerator=tpu", "must be one of auto, cpu, gpu, got 'tpu'"),
        ("training.epochs=abc", "training.epochs must be an integer >= 1, got 'abc'"),
        ("seed", "'seed' is no KEY=VALUE, such as seed=1"),
    ],
)
def test_a_training_names_what_is_nearest_and_leaves_nothing(
    words: str, complaint: str, project: Project, tmp_path: Path
) -> None:
    uri = new_store(tmp_path / "runs.db")
    before = folders(project)
    training = project.train(
        *words.split(),
        MLFLOW_TRACKING_URI=uri,
        OPTUNA_STORAGE=f"sqlite:///{tmp_path / 'optuna.db'}",
    )
    assert training.ended() == 2, training.said()
    assert mlflow_client(uri).get_experiment_by_name("digits") is None  # so no run either
    assert folders(project) == before
    assert not (tmp_path / "optuna.db").exists()
    assert training.complaint().startswith("train: ")
    assert complaint in training.complaint()
    assert training.stdout.read_text() == ""


def test_a_sweep_without_data_starts_no_training_and_leaves_nothing(
    project: Project, tmp_path: Path
) -> None:
    uri = new_store(tmp_path / "runs.db")
    before = {*project.folder.glob("multirun/*")}
    sweep = project.train("-m", "seed=1,2", "prepared=nowhere", MLFLOW_TRACKING_URI=uri)
    assert sweep.ended() == 1, sweep.said()
    assert sweep.complaint() == (
        "train: nowhere/data.json is missing; run `dvc repro prepare synthesize`"
    )
    assert sweep.stdout.read_text() == ""
    assert mlflow_client(uri).get_experiment_by_name("digits") is None
    assert {*project.folder.glob("multirun/*")} == before


def test_what_the_code_takes_may_be_added(project: Project) -> None:
    """What is in no file of conf/, but an argument of what a `_target_` names."""
    training = project.train(*TINY, "+optimizer.maximize=false", "training.epochs=1", "out=added")
    assert training.ended() == 0, training.said()


@pytest.mark.parametrize("words", ["model=cn", "training.epochs=0", "+optimizer.lrr=1"])
@pytest.mark.parametrize("swept", [(), ("-m",)], ids=["alone", "swept"])
def test_the_traceback_is_there_for_who_asks(
    swept: tuple[str, ...], words: str, project: Project
) -> None:
    where = ("hydra.sweep.dir=traced",) if swept else ()
    training = project.train(*swept, *words.split(), *where, HYDRA_FULL_ERROR="1")
    assert training.ended() == 1
    said = training.stderr.read_text()
    assert "Traceback (most recent call last)" in said
    assert "Mistaken: " in said or "Could not find 'model/cn'" in said
