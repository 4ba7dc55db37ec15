"""The search for the preset that does best: `tune`."""

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
from tf_lrp.tuning.trials import import_optuna, open_search

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
    """Searches for the preset whose explanations do best on data.

    The references are measured first. The sampler (Optuna's tree-structured Parzen estimator) starts from those that lie in the
    space. A trial measures one preset on all data; a trial that fails is recorded with its error. For up to four batches, and
    activations of up to 1 GiB, all trials share the forward passes (`tf_lrp.explain.Session`). With more data each trial traces
    its own graph, which takes a few seconds for a deep network.

    The winner was chosen on these data, so its value on them is too optimistic: measure it on others, see `Tuned.validate`.

    Args:
        model: a built Keras model with one input and one output (N, neurons).
        data: `tf_lrp.tuning.Data` (x, targets, masks), or such a tuple.
        metric: what is maximised; a list of several gives a Pareto front. A function (explainer, data) -> float, where data are
            the `Data` as given, a name of `register_metric`, or one of these names, each the mean over samples and targets:
            "localization": mu = R_in / R_tot, the share of the positive relevance inside the mask, summed over channels
            (Kohlbrenner et al. 2020); a map without positive relevance has the value 0;
            "weighted_localization": mu S_tot / S_in, the ratio to uniform relevance;
            "rank_accuracy": the share of the |mask| most relevant pixels that lie inside (Arras et al. 2022);
            "pointing": whether the most relevant pixel lies inside (Zhang et al. 2018);
            "faithfulness": AOPC, the mean drop of the score, in its units, while a picture's 8 x 8 patches are
            replaced by its mean colour, the most relevant first, four at a time (Samek et al. 2017);
            "completeness": -|sum R - f| / (|sum R| + |f|), from -1 to 0, 0 where relevance sums to the score f.
        space: `Space` of presets; by default `Space.for_model(model)`.
        budget: total number of trials, without references; 0 measures only the references.
        out: folder for the trials, in a study that Optuna's tools can open. A later call with the same folder runs only the
            trials that are missing up to ``budget``, also after the process was killed, with the result of an uninterrupted
            search (if the metric is deterministic and Optuna's version is the same). None keeps the trials in memory.
        seed: int >= 0, of the sampler.
        progress: "auto" shows a bar where stderr is a terminal, True always, False never.
        batch_size: samples that are explained at once.
        timeout: seconds after which no further trial is started.
        references: names of presets, or `tf_lrp.Preset` with different names.

    Returns:
        `Tuned`.

    Raises:
        ImportError: without Optuna.
        TypeError, ValueError: invalid arguments, or a folder whose search was started with another metric, space, seed,
            references, data or model.
        BlockingIOError: another process is searching in the folder.
        RuntimeError: every trial, or without trials every reference, failed.

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

    def evaluate(number, preset, parameters, options, reference=None):
        started, values, error = time.perf_counter(), None, None
        try:
            measured = measurer(preset, options)
            values = {name: measured[name].value for name in names}
        except Exception as problem:  # one preset that fails, such as by lack of memory, must not end the search
            error = f"{type(problem).__name__}: {problem}"[:2000]
        seconds = time.perf_counter() - started
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

    def try_parameters(number, parameters):
        preset = space.preset(parameters, f"tuned_{number}")
        return evaluate(number, preset, parameters, space.options(parameters))

    started = time.monotonic()
    with open_search(out, names, configuration, seed, space) as search:
        done, trials = search.records()
        missing = {name: preset for name, preset in named.items() if name not in {r["reference"] for r in done}}
        with _progress(progress, len(missing) + max(0, budget - len(trials)), names[0], done + trials) as show:
            for name, preset in missing.items():
                record = evaluate(None, preset, _place(preset, space), {}, reference=name)
                search.add_reference(record)
                show(record)
            for number in range(len(trials), budget):
                if timeout is not None and time.monotonic() - started > timeout:
                    break
                show(search.run(number, lambda parameters, number=number: try_parameters(number, parameters)))
        done, trials = search.records()
    _refuse_failure(trials or done)
    return Tuned(names, tuple(done), tuple(trials), configuration)


def _sweeper():
    """A function that frees the memory of earlier analyzers, whose graphs refer to each other.

    Garbage collection visits all objects. With small networks and quick trials it is therefore skipped most of the time, so as
    to take at most a tenth of the search.
    """
    cost, ended = 0.1, time.perf_counter()  # seconds; an estimate before the first collection

    def sweep():
        nonlocal cost, ended
        started = time.perf_counter()
        if started - ended >= 10 * cost:
            gc.collect()
            ended = time.perf_counter()
            cost = ended - started

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
    """The parameters of a named preset in the space, None if it lies outside or has other parameters than by default."""
    parameters = space.known().get(preset.name)
    return parameters if parameters and preset == as_preset(preset.name) else None


def _refuse_failure(records):
    failed = [record["error"] for record in records if record["error"]]
    if failed and len(failed) == len(records):
        raise RuntimeError(f"None of {len(records)} presets could be measured. The first error: {failed[0]}")


@contextlib.contextmanager
def _progress(progress, total, metric, records):
    """Yields a function that shows each new record in a progress bar, if there is to be one."""
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

        def show(record):
            if record["values"]:
                best.append(record["values"][metric])
            bar.update(task, advance=1, description=printable(f"best {metric} {max(best):.4g}") if best else "")

        yield show
