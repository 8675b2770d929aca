"""Versions of the model `digits` in MLflow's registry, and the alias that says which one rules."""

from typing import TYPE_CHECKING

from digits.runs import tracking

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

MODEL = "digits"
CHAMPION = "champion"


def register(run_id: str, *, reason: str, stand_in: bool) -> tuple[int, bool]:
    """Register the run's model, once however often asked, and point `champion` at its version.

    A model trained on a stand-in is registered, but never crowned over one that was not. Returns
    the version, and whether it is the champion now. Raises TrackingError when the store cannot be
    used, ValueError when the run has no model.
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
            outputs = client.get_run(run_id).outputs
            if not outputs or not outputs.model_outputs:
                raise ValueError(f"run {run_id} logged no model; train it again")
            model_id = outputs.model_outputs[0].model_id
            logged = client.get_logged_model(model_id)
            created = client.create_model_version(
                MODEL, logged.artifact_location, run_id=run_id, model_id=model_id
            )
            number = int(created.version)
        client.update_model_version(MODEL, str(number), description=reason)
        if stand_in and _champion_is_real(client):
            return number, False
        client.set_registered_model_alias(MODEL, CHAMPION, str(number))
        return number, True


def _champion_is_real(client: "MlflowClient") -> bool:
    """Whether there is a champion, and it was trained on the data set that was asked for."""
    aliases = client.get_registered_model(MODEL).aliases
    if CHAMPION not in aliases:
        return False
    ruling = client.get_model_version(MODEL, aliases[CHAMPION]).run_id
    return tracking.exists(ruling) and client.get_run(ruling).data.tags.get("fallback") != "true"
