"""Pictures of a sweep: what each group reached and, by Optuna, what it depended on."""

import warnings
from collections.abc import Sequence
from typing import Any

from digits.runs.sweeps import Child
from digits.sweeping.groups import REPEATS, Group

FEWEST = 4  # trainings from which there is something to see
ACCURACY = "validation accuracy"
WIDE = 100  # a parameter whose values are this far apart, as a ratio, is drawn on a log scale


def of_groups(groups: Sequence[Group]) -> dict[str, Any]:
    """What each group reached: file name → figure."""
    from digits.reporting import figures

    return {"val_accuracy.png": figures.box_plot({each.name: each.accuracies for each in groups})}


def of_search(children: Sequence[Child]) -> dict[str, Any]:
    """Parallel coordinates and the importance of each parameter: file name → figure.

    Empty where too little was varied to see anything.
    """
    study, keys = _as_study(children)
    if len(study.trials) < FEWEST or not keys or len({trial.value for trial in study.trials}) < 2:
        return {}
    import matplotlib.pyplot as plt
    from optuna.visualization import matplotlib as draw

    with warnings.catch_warnings(), plt.ioff():
        warnings.simplefilter("ignore")  # Optuna calls these experimental, for years
        tried: Any = draw.plot_parallel_coordinate(study, target_name=ACCURACY)
        mattered: Any = draw.plot_param_importances(study, target_name=ACCURACY)
    drawn = {
        "parallel_coordinates.png": tried.figure,
        "importances.png": mattered.figure,
    }
    for axes in tried.figure.axes:
        for lines in axes.collections:
            lines.set_cmap("viridis_r")  # its own colour for the lowest is white
    for figure in drawn.values():
        figure.set_size_inches(9, 4.5)
        plt.close(figure)
    return drawn


def _as_study(children: Sequence[Child]) -> tuple[Any, set[str]]:
    """The trainings that finished as trials of a study in memory, and the keys that vary."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trained = [(_params(child), child.val_accuracy) for child in children]
    trained = [(params, accuracy) for params, accuracy in trained if accuracy is not None]
    values: dict[str, set[str]] = {}
    for params, _ in trained:
        for key, value in params.items():
            values.setdefault(key, set()).add(value)
    varied = {key for key, known in values.items() if len(known) > 1}
    space: dict[str, Any] = {}
    for key in varied:
        try:
            numbers = [float(value) for value in values[key]]
        except ValueError:
            space[key] = CategoricalDistribution(sorted(values[key]))
        else:
            low, high = min(numbers), max(numbers)
            space[key] = FloatDistribution(low, high, log=low > 0 and high / low >= WIDE)
    study = optuna.create_study(direction="maximize")
    for params, accuracy in trained:
        shown = {key: value for key, value in params.items() if key in varied}
        study.add_trial(
            optuna.trial.create_trial(
                params={
                    key: value if isinstance(space[key], CategoricalDistribution) else float(value)
                    for key, value in shown.items()
                },
                distributions={key: space[key] for key in shown},
                value=accuracy,
            )
        )
    return study, varied


def _params(child: Child) -> dict[str, str]:
    parts = (part.partition("=") for part in child.overrides if not part.startswith(REPEATS))
    return {key.lstrip("+"): value for key, _, value in parts}
