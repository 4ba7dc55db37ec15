"""The search itself."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Literal

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tf_lrp.messages import checks
from tf_lrp.messages.tables import printable
from tf_lrp.presets import Preset, as_preset
from tf_lrp.rules import Rule
from tf_lrp.tuning.data import Data, data_fingerprint, model_fingerprint
from tf_lrp.tuning.metrics import Measurer, metrics_of
from tf_lrp.tuning.result import Tuned
from tf_lrp.tuning.space import Space
from tf_lrp.tuning.study import import_optuna, opened

#: The named presets that a search has to beat.
REFERENCES = ("cmp_a2_flat", "cmp_a1_flat", "epsilon_gamma_box", "epsilon")


def tune(
    model: keras.Model,
    data: Data,
    metric: str | Callable | Sequence[str | Callable] = "localization",
    space: Space | None = None,
    budget: int = 50,
    *,
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: bool | Literal["auto"] = "auto",
    batch_size: int = 32,
    timeout: float | None = None,
    references: Sequence[str | Preset | Rule] = REFERENCES,
) -> Tuned:
    """Searches the preset whose explanations do best on data.

    The references are measured first. Those that lie in the space also tell the sampler (Optuna's tree-structured Parzen
    estimator) where to begin. A trial is one preset, measured on all the data; one that fails is kept with its error. Every
    trial builds an analyzer of its own, as its rules are part of the compiled graph: that costs a few seconds for a deep
    network. TensorFlow keeps what belongs to each custom gradient that was ever traced, some megabytes for every trial, until
    the process ends; a very long search is better split into several calls with ``out``.

    The winner was chosen by these very data: what it is worth is measured on others, see `Tuned.validate`.

    Args:
        model: a built Keras model with one input and one output (N, neurons).
        data: `tf_lrp.tuning.Data` (x, targets, masks), or such a tuple.
        metric: what is maximised; several in a list give a Pareto front. A function (explainer, data) -> float, where data are
            the `Data` as given, or one of these names, each the mean over samples and targets:
            "localization": mu = R_in / R_tot, the share of the positive relevance inside the mask, summed over channels
            (Kohlbrenner et al. 2020); a map without any counts 0;
            "weighted_localization": mu S_tot / S_in, how many times as much as uniform relevance would have there;
            "rank_accuracy": the share of the |mask| most relevant pixels that lie inside (Arras et al. 2022);
            "pointing": whether the most relevant pixel lies inside (Zhang et al. 2018);
            "faithfulness": AOPC, the mean drop of the score, in its units, while a picture's 8 x 8 patches are
            replaced by its mean colour, the most relevant first, four at a time (Samek et al. 2017);
            "completeness": -|sum R - f| / (|sum R| + |f|), from -1 to 0, 0 where relevance sums to the score f.
        space: `Space` of presets; by default `Space.for_model(model)`.
        budget: number of trials in all, references not counted; 0 measures these alone.
        out: folder where the trials are kept, in a study that Optuna's tools can open. A later call with the same folder does
            only what is missing up to ``budget``, also after the process was killed, and finds what an uninterrupted search
            would have found (a deterministic metric and one version of Optuna given). None keeps them in memory.
        seed: int >= 0, of the sampler.
        progress: "auto" shows a bar where stderr is a terminal, True always, False never.
        batch_size: samples that are explained at once.
        timeout: seconds after which no further trial is begun.
        references: names of presets, or `tf_lrp.Preset` with names of their own.

    Returns:
        `Tuned`.

    Raises:
        ImportError: without Optuna.
        TypeError, ValueError: for arguments that do not fit, and for a folder whose search had another metric, space, seed,
            references, data or model.
        BlockingIOError: if another process searches in the folder.
        RuntimeError: if every trial, or every reference where there is no trial, failed.

    Example:
        >>> tuned = tf_lrp.tune(model, (x, classes, masks), budget=50, out="tuning")
        >>> analyzer = tuned.analyzer(model)
    """
    import_optuna()
    _check_numbers(budget, seed, timeout, progress)
    metrics = metrics_of(metric)
    measurer = Measurer(model, data, metrics, batch_size)
    space = Space.for_model(model) if space is None else space
    if not isinstance(space, Space):
        raise TypeError(f"space is a tf_lrp.tuning.Space or None; got {type(space).__name__}.")
    named = _references(references)
    names = tuple(m.name for m in metrics)
    configuration = {
        "metric": [m.identity for m in metrics],
        "space": space.to_dict(),
        "seed": seed,
        "references": [[name, json.loads(preset.to_json())["rules"]] for name, preset in named.items()],
        "data": data_fingerprint(measurer.data),
        "model": model_fingerprint(model),
    }

    sweep = _sweeper()

    def evaluated(number, preset, parameters, options, reference=None):
        began, values, error = time.perf_counter(), None, None
        try:
            found = measurer(preset, options)
            values = {name: found[name].value for name in names}
        except Exception as problem:  # an out-of-memory preset or a metric that fails on it is no reason to lose the others
            error = f"{type(problem).__name__}: {problem}"[:2000]
        seconds = time.perf_counter() - began
        sweep()
        return {
            "number": number,
            "reference": reference,
            "parameters": parameters,
            "values": values,
            "seconds": round(seconds, 3),
            "preset": json.loads(preset.to_json()),
            "options": options,
            "error": error,
        }

    def tried(number, parameters):
        preset = space.preset(parameters, f"tuned_{number}")
        return evaluated(number, preset, parameters, space.options(parameters))

    began = time.monotonic()
    with opened(out, names, configuration, seed, space) as study:
        done, trials = study.records()
        missing = {name: preset for name, preset in named.items() if name not in {r["reference"] for r in done}}
        with _progress(progress, len(missing) + max(0, budget - len(trials)), names[0], done + trials) as told:
            for name, preset in missing.items():
                record = evaluated(None, preset, _place(preset, space), {}, reference=name)
                study.add_reference(record)
                told(record)
            for number in range(len(trials), budget):
                if timeout is not None and time.monotonic() - began > timeout:
                    break
                told(study.run(number, lambda parameters, number=number: tried(number, parameters)))
        done, trials = study.records()
    _refuse_failure(trials or done)
    return Tuned(names, tuple(done), tuple(trials), configuration)


def _sweeper():
    """A function that frees the memory of earlier analyzers, whose graphs hold each other.

    Python looks through all objects for that. Where trials are quick, and so networks small, it is done only now and then, to
    take a tenth of the time at most.
    """
    cost, ended = 0.1, time.perf_counter()  # seconds, until it is known

    def sweep():
        nonlocal cost, ended
        began = time.perf_counter()
        if began - ended >= 10 * cost:
            gc.collect()
            ended = time.perf_counter()
            cost = ended - began

    return sweep


def _check_numbers(budget, seed, timeout, progress):
    for name, value in (("budget", budget), ("seed", seed)):
        checks.integer(name, value, 0)
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout >= 0):
        raise ValueError(f"timeout needs a number of seconds >= 0, or None; got {timeout!r}.")
    if progress not in ("auto", True, False):
        raise ValueError(f'progress is "auto", True or False; got {progress!r}.')


def _references(references):
    presets = [as_preset(reference) for reference in ([references] if isinstance(references, str) else references)]
    named = {preset.name: preset for preset in presets}
    if len(named) < len(presets):
        raise ValueError(f"References need different names; got {', '.join(preset.name for preset in presets)}.")
    return named


def _place(preset, space):
    """The parameters of a named preset in the space, if it is in there with the parameters that it has by default."""
    parameters = space.known().get(preset.name)
    return parameters if parameters and preset == as_preset(preset.name) else None


def _refuse_failure(records):
    failed = [record["error"] for record in records if record["error"]]
    if failed and len(failed) == len(records):
        raise RuntimeError(f"None of {len(records)} presets could be measured. The first said: {failed[0]}")


@contextlib.contextmanager
def _progress(progress, total, metric, records):
    """A function that is told every new record, and shows it where that is wanted."""
    best = [r["values"][metric] for r in records if r["values"]]
    shown = total > 0 and (progress is True or (progress == "auto" and sys.stderr.isatty()))
    columns = [
        TextColumn("presets"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    ]
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task("", total=total)

        def told(record):
            if record["values"]:
                best.append(record["values"][metric])
            bar.update(task, advance=1, description=printable(f"best {metric} {max(best):.4g}") if best else "")

        yield told
