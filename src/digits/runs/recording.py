"""One run in MLflow: what is logged of a training as it goes, and of its evaluation later.

A store that is lost on the way costs nothing: from then on all is kept (`unsent`), tried again when
the run ends, and else sent by `digits sync`.
"""

import contextlib
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digits.runs import interrupts, tracking, unsent, writing
from digits.runs.tracking import GIVEN_UP, NOTE, GivenUp, TrackingError, talking_to_server

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Run:
    """An open MLflow run.

    What describes it before it begins raises TrackingError when the store cannot be used; all that
    is logged after that is kept instead.
    """

    def __init__(self, run_id: str, experiment: str) -> None:
        self.run_id = run_id
        self.experiment = experiment
        self._lost = False

    def log_params(self, config: dict[str, Any]) -> None:
        """The whole resolved configuration, one parameter a key: `optimizer.lr`."""
        import mlflow

        flat = {
            k: str(value)[: tracking.LONGEST_PARAM] for k, value in tracking.flatten(config).items()
        }
        with talking_to_server():
            # A resumed run has them already; MLflow accepts the same value again.
            mlflow.log_params(flat, run_id=self.run_id)

    def log_dataset(
        self, *, name: str, digest: str, images: NDArray[np.uint8], source: str, context: str
    ) -> None:
        """The images a run learned from, known by our own digest of all of them."""
        import mlflow
        import mlflow.data

        with talking_to_server(), warnings.catch_warnings():
            # A path is a local artifact in two of MLflow's registries; both mean the same.
            warnings.simplefilter("ignore")
            dataset = mlflow.data.from_numpy(
                images, source=source, name=name, digest=digest.removeprefix("sha256:")[:36]
            )
            mlflow.log_input(dataset, context=context)

    def logged_steps(self, metric: str) -> set[int]:
        """The steps at which the run has this metric: an interrupted run has some already."""
        with talking_to_server():
            history = tracking.client().get_metric_history(self.run_id, metric)
        return {point.step for point in history}

    def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
        plain = {name: float(value) for name, value in metrics.items()}
        self._write(writing.log_metrics, metrics=plain, step=step, at_ms=_now_ms())

    def set_tag(self, key: str, value: str) -> None:
        self._write(writing.set_tag, key=key, value=value)

    def describe(self, note: str) -> None:
        """What a person reads first on the run's page, Markdown."""
        self.set_tag(NOTE, note)

    def log_files(self, path: Path, folder: str | None = None) -> None:
        """A file or a whole folder as artifacts."""
        self._write(writing.log_files, path=path, folder=folder)

    def log_text(self, text: str, name: str) -> None:
        """A text as an artifact."""
        with self._file(name) as path:
            path.write_text(text, encoding="utf-8")

    def log_figure(self, figure: "Figure", name: str) -> None:
        """A matplotlib figure as a picture."""
        with self._file(name) as path:
            figure.savefig(path, dpi=110)

    def log_image(self, picture_HW: NDArray[np.uint8], name: str) -> None:
        """Grey pixels as a picture."""
        with self._file(name) as path:
            Image.fromarray(picture_HW).save(path)

    def log_model(self, bundle: Path, requirements: list[str]) -> None:
        """The bundle's ONNX as a Logged Model."""
        self._write(writing.log_model, path=bundle / "model.onnx", requirements=requirements)

    def end(self, status: str) -> None:
        """Close the run, and send what was kept if the store is back."""
        self._write(writing.end, status=status, at_ms=_now_ms())
        if self._lost:
            with contextlib.suppress(TrackingError):
                tracking.check_reachable()
                sent = unsent.send(self.run_id)
                if sent:
                    print(f"the MLflow store is back; {sent}", file=sys.stderr, flush=True)

    def lose(self, error: TrackingError) -> None:
        """Go on without the store, and say so."""
        self._lost = True
        print(
            f"{error.what}; going on without it: what it misses is kept in "
            f"{unsent.FOLDER / self.run_id}, `digits sync` sends it when the store is back",
            file=sys.stderr,
            flush=True,
        )

    def _write(self, call: Callable[..., None], **arguments: Any) -> None:
        if not self._lost:
            try:
                call(self.run_id, **arguments)
                return
            except TrackingError as error:
                self.lose(error)
        unsent.keep(self.run_id, call.__name__, **arguments)

    @contextlib.contextmanager
    def _file(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / name
            self.log_files(Path(folder) / name)


@contextlib.contextmanager
def run(*, name: str, tags: dict[str, str], resume: str | None = None) -> Iterator[Run]:
    """Open a run, a new one or the interrupted one named by `resume`; close it in a true state.

    FINISHED when the block ends, KILLED when it is interrupted or given up, FAILED when it raises.
    Raises TrackingError when the store cannot be reached.
    """
    tracking.be_quiet_and_quick()
    import mlflow

    mlflow.set_tracking_uri(tracking.tracking_uri())
    opened = None
    status = "KILLED"  # by a signal or an exit, unless one of these is reached
    try:
        with talking_to_server():
            chosen = tracking.experiment_id()
            mlflow.set_experiment(experiment_id=chosen)
            # MLflow refuses to go on with a run of another experiment than the one that is set.
            known = resume if resume and tracking.exists(resume, experiment_id=chosen) else None
            run_name = None if known else name
            active = mlflow.start_run(known, run_name=run_name, tags=tags, log_system_metrics=True)
            opened = Run(active.info.run_id, tracking.experiment_name())
        # What an interrupted training kept, it logs again when it goes on.
        unsent.forget(opened.run_id)
        yield opened
        status = "FINISHED"
    except GivenUp as given_up:  # KILLED too, and told from the others by this tag
        if opened:
            opened.set_tag(GIVEN_UP, str(given_up.epoch))
        raise
    except Exception as error:
        status = "FAILED"
        if isinstance(error, TrackingError):
            opened = None  # lost before there was anything to keep
        raise
    finally:
        # A second Ctrl-C, or a full disk, must not hide why the block ended.
        hidden = () if status == "FINISHED" else (Exception,)
        with contextlib.suppress(*hidden), interrupts.ignored():
            if opened:
                opened.end(status)
        # MLflow's own notion of a run that is open.
        with contextlib.suppress(TrackingError), interrupts.ignored(), talking_to_server():
            mlflow.end_run(status)


def add_to_run(
    run_id: str,
    *,
    metrics: dict[str, float],
    files: list[Path],
    texts: dict[str, str],
    note: str,
) -> bool:
    """Log to a run that has ended, without touching its state; False when it is not known here.

    `texts` are artifacts by their name; `note` takes the place of the run's description. What
    cannot be logged is kept.
    """
    added = Run(run_id, tracking.experiment_name())
    try:
        tracking.check_reachable()
        unsent.send(run_id)
        if not tracking.exists(run_id):
            return False
    except TrackingError as error:
        added.lose(error)
    added.log_metrics(metrics, step=0)
    for path in files:
        added.log_files(path)
    for name, text in texts.items():
        added.log_text(text, name)
    added.describe(note)
    return True


def _now_ms() -> int:
    return int(time.time() * 1000)
