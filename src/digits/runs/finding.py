"""Find the run that a person means.

By its id or the start of it, its name, a version, an alias, or as a candidate of the pipeline here.
"""

import difflib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digits.files import read_json
from digits.runs import tracking
from digits.runs.registry import CHALLENGER, CHAMPION, MODEL
from digits.settings import CONF, PARAMS

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SHORTEST = 4  # characters of an id
SHOWN = 8
MISSING = {
    CHAMPION: "`make repro` makes one",
    CHALLENGER: "a selected model that is not better than the champion becomes one",
}
MODELS = Path("models")  # of the pipeline
MOST_NAMED = 200  # runs whose names are looked at for what was meant


def find(word: str) -> Any:
    """The MLflow run of a training.

    `word` is a run's id or its beginning, a run's whole name, a version of the registered model
    (`v7` or `7`), an alias of it (`champion`), or a folder of models/ (`cnn`).
    ValueError says what is not there, or names the runs that fit where several do; TrackingError
    that the store cannot be used.
    """
    tracking.check_reachable()
    with tracking.talking_to_server():
        client = tracking.client()
        for look in (_by_version, _by_id, _by_name, _by_candidate):
            found = look(client, word)
            if len(found) > 1:
                fitting = ", ".join(f"{run.info.run_id[:8]} ({run.info.run_name})" for run in found)
                raise ValueError(f"{word!r} fits several runs: {fitting}; name one by its id")
            if found:
                return found[0]
        if word in MISSING:
            raise ValueError(f"there is no {word} now; {MISSING[word]}")
        if _by_id(client, word, of="sweep"):
            raise ValueError(f"run {word} is a sweep's own; name one of its trainings")
        what = f"there is no run {word!r}"
        if re.fullmatch(r"[\w-]+", word) and (CONF / "model" / f"{word}.yaml").is_file():
            what += f", and none of the candidates of {PARAMS} that are trained here is called so"
        raise ValueError(f"{what}{_hint(client, word)}")


def bundle(run_id: str) -> Path | None:
    """The folder of the run's bundle, fetched where it is not on this machine.

    None of a run that has none, or was deleted for good.
    """
    from mlflow.exceptions import MlflowException

    with tracking.talking_to_server():
        client = tracking.client()
        try:
            logged = client.list_artifacts(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        if not any(entry.path == "bundle" for entry in logged):
            return None
        return Path(client.download_artifacts(run_id, "bundle"))


def tags(run_id: str) -> dict[str, str]:
    """What MLflow knows the run by."""
    with tracking.talking_to_server():
        return dict(tracking.client().get_run(run_id).data.tags)


def artifact(run_id: str, name: str) -> dict[str, Any]:
    """A JSON file that was logged to the run; empty where it was not."""
    with tracking.talking_to_server():
        client = tracking.client()
        if not any(entry.path == name for entry in client.list_artifacts(run_id)):
            return {}
        path = Path(client.download_artifacts(run_id, name))
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _by_version(client: "MlflowClient", word: str) -> list[Any]:
    number = word.removeprefix("v")
    if number.isdecimal() and (number != word or len(number) < SHORTEST):
        found = client.search_model_versions(f"name = '{MODEL}'")
        ids = [entry.run_id for entry in found if str(entry.version) == number]
    else:
        named = _aliases(client).get(word)
        ids = [] if named is None else [client.get_model_version(MODEL, named).run_id]
    return [_existing(client, run_id, word) for run_id in ids]


def _existing(client: "MlflowClient", run_id: str, word: str) -> Any:
    """The run of a version or an alias; ValueError where it was deleted for good."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise ValueError(
            f"the run of {word}, {run_id[:SHOWN]}, is no longer in MLflow; `digits runs` lists "
            "those that are"
        ) from None


def _by_id(client: "MlflowClient", word: str, *, of: str = "training") -> list[Any]:
    if len(word) < SHORTEST or not word.isalnum():
        return []
    return _search(client, f"attributes.run_id LIKE '{word.lower()}%'", of=of)


def _by_name(client: "MlflowClient", word: str) -> list[Any]:
    if "'" in word and '"' in word:
        return []
    quote = '"' if "'" in word else "'"
    return _search(client, f"attributes.run_name = {quote}{word}{quote}")


def _by_candidate(client: "MlflowClient", word: str) -> list[Any]:
    """The training that the pipeline has of this name, of the many that MLflow may know."""
    path = MODELS / word / "run.json"
    if not re.fullmatch(r"[\w-]+", word) or not path.exists():
        return []
    return _search(client, f"attributes.run_id = '{read_json(path, stage='train')['run_id']}'")


def _search(client: "MlflowClient", clause: str, *, of: str = "training") -> list[Any]:
    """A training has a model; a sweep's own run has none."""
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    if of == "training":
        clause += " and tags.model != ''"
    return list(client.search_runs(ids, clause, max_results=5))


def _aliases(client: "MlflowClient") -> dict[str, str]:
    found = client.search_registered_models(f"name = '{MODEL}'")
    return dict(found[0].aliases) if found else {}


def _hint(client: "MlflowClient", word: str) -> str:
    """What was probably meant, or what there is."""
    number = word.removeprefix("v")
    if number.isdecimal() and (number != word or len(number) < SHORTEST):
        found = [int(entry.version) for entry in client.search_model_versions(f"name = '{MODEL}'")]
        near = [f"v{each}" for each in sorted(found, key=lambda one: abs(one - int(number)))]
        return f"; there is {' or '.join(near[:2])}" if near else "; no model is registered"
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(ids, "tags.model != ''", max_results=MOST_NAMED)
    names = list(dict.fromkeys(str(run.info.run_name) for run in runs))
    known = {*_aliases(client), *MISSING, *names}
    known |= {run.info.run_id[: max(len(word), SHOWN)] for run in runs}
    longer = [name for name in names if name.startswith(word)]
    # A model's name is how the name of each of its trainings begins.
    begun = [name for name in names if difflib.get_close_matches(word, [name.partition(" ")[0]])]
    meant = longer[:2] or difflib.get_close_matches(word, known, n=2, cutoff=0.6) or begun[:2]
    if meant:
        return f"; did you mean {' or '.join(map(repr, meant))}?"
    if not names:
        return "; there are none yet, `make repro` makes the first"
    return f"; the latest are {' and '.join(map(repr, names[:2]))}; `digits runs` lists them"
