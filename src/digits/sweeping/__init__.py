"""Sweeps: many trainings by one command, one MLflow run above them, resumed where they stopped."""
