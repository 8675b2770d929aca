"""The service and its limits: BentoML, HTTP. Never torch, Lightning, Hydra, MLflow or DVC."""
