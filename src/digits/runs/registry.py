"""Versions of the model `digits` in MLflow's registry, and the aliases that say what each is."""

from typing import TYPE_CHECKING

from digits.runs import tracking, writing

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

MODEL = "digits"
CHAMPION = "champion"
CHALLENGER = "challenger"  # the last one that was not better
VERDICT, REASON = "gate", "gate.reason"  # tags of a version


def register(run_id: str, *, reason: str) -> int:
    """Register the run's model, once however often asked, and return its version.

    Raises TrackingError when the store cannot be used, ValueError when the run has no model.
    """
    from mlflow.exceptions import MlflowException

    with tracking.talking_to_server():
        client = tracking.client()
        try:
            client.get_registered_model(MODEL)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            client.create_registered_model(MODEL, description="Reads handwritten digits.")
        versions = client.search_model_versions(f"name = '{MODEL}' and run_id = '{run_id}'")
        if versions:
            number = min(int(entry.version) for entry in versions)
        else:
            model_id = writing.ready_model(run_id)
            if model_id is None:
                raise ValueError(f"run {run_id} logged no model; train it again")
            logged = client.get_logged_model(model_id)
            created = client.create_model_version(
                MODEL, logged.artifact_location, run_id=run_id, model_id=model_id
            )
            number = int(created.version)
        client.update_model_version(MODEL, str(number), description=reason)
    return number


def version_of(run_id: str) -> int | None:
    """The registered version of a run's model; None of one that is not registered."""
    with tracking.talking_to_server():
        found = tracking.client().search_model_versions(f"name = '{MODEL}' and run_id = '{run_id}'")
    return min((int(entry.version) for entry in found), default=None)


def run_of(version: int) -> str | None:
    """The run of a version; None of one that is no longer registered."""
    with tracking.talking_to_server():
        found = tracking.client().search_model_versions(f"name = '{MODEL}'")
    return next((str(entry.run_id) for entry in found if int(entry.version) == version), None)


def champion() -> tuple[int, str] | None:
    """The version that the alias `champion` points at, and its run; None where there is none."""
    with tracking.talking_to_server():
        client = tracking.client()
        found = client.search_registered_models(f"name = '{MODEL}'")
        number = dict(found[0].aliases).get(CHAMPION) if found else None
        if number is None:
            return None
        return int(number), str(client.get_model_version(MODEL, str(number)).run_id)


def judged(version: int, *, promoted: bool, reason: str | None) -> None:
    """Say what became of a version: its alias, and the verdict and its reason as tags.

    Without a reason only the alias is made sure of.
    """
    with tracking.talking_to_server():
        client = tracking.client()
        number = str(version)
        if reason is not None:
            verdict = "promoted" if promoted else "kept out"
            client.set_model_version_tag(MODEL, number, VERDICT, verdict)
            client.set_model_version_tag(MODEL, number, REASON, reason)
        if not promoted:
            client.set_registered_model_alias(MODEL, CHALLENGER, number)
            return
        client.set_registered_model_alias(MODEL, CHAMPION, number)
        if _aliases(client).get(CHALLENGER) == number:
            client.delete_registered_model_alias(MODEL, CHALLENGER)


def _aliases(client: "MlflowClient") -> dict[str, str]:
    """Alias → version, as MLflow has them."""
    return {alias: str(at) for alias, at in client.get_registered_model(MODEL).aliases.items()}
