"""An MLOps pipeline for handwritten digits; `docs/decisions.md` says why it is shaped so."""
