"""Versions of the model `digits` in MLflow's registry, and the alias that says which one rules."""

from digits.runs import tracking

MODEL = "digits"
CHAMPION = "champion"


def crown(run_id: str, *, reason: str) -> int:
    """Register the run's model (once, however often asked) and point `champion` at that version.

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
        client.set_registered_model_alias(MODEL, CHAMPION, str(number))
        return number
