"""Runs, their registry and lineage: the only MLflow."""
