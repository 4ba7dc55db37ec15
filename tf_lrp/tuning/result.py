"""The result of a search, and its files."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import tf_lrp
from tf_lrp.analyzer import Analyzer
from tf_lrp.presets import Preset
from tf_lrp.runs import atomic_files
from tf_lrp.tuning import figure
from tf_lrp.tuning.data import data_fingerprint
from tf_lrp.tuning.metrics import Measurer, metrics_of


class Validation(NamedTuple):
    """Values of the tuned preset and the references on data that the search did not see.

    Attributes:
        measurements: name of the preset ("tuned" first) -> metric's name -> `Measurement`.
        gains: name of the reference -> metric's name -> (mean, standard error) of tuned minus reference, sample by sample;
            the standard error is None for a metric that gives one number, or a single sample.
        data: dict for JSON that identifies the data.
    """

    measurements: dict
    gains: dict
    data: dict

    def rows(self):
        """(columns, rows) of a table; cells are names, floats or [float, standard error]."""
        metrics = list(self.measurements["tuned"])
        columns = ["preset", *metrics, *(f"tuned minus this, {name}" for name in metrics)]
        rows = []
        for name, measured in self.measurements.items():
            gains = [_cell(*self.gains[name][m]) if name in self.gains else None for m in metrics]
            rows.append([name, *(_cell(measured[m].value, measured[m].error) for m in metrics), *gains])
        return columns, rows


@dataclass(frozen=True)
class Tuned:
    """The result of a search.

    A record is a dict: "number" (of a trial; None for a reference), "reference" (its name; None for a trial), "parameters" (of
    the space; None for a reference outside), "values" (metric's name -> float; None if it failed), "seconds", "preset" (as
    `tf_lrp.Preset.to_json` writes it, parsed), "options" (of the analyzer) and "error" (None if it did not fail).

    Attributes:
        metrics: names of the metrics that were maximised.
        references: records of the named presets.
        trials: records of the trials.
        configuration: dict for JSON: metric, space, seed, references, fingerprints of data and model.
    """

    metrics: tuple[str, ...]
    references: tuple[dict, ...]
    trials: tuple[dict, ...]
    configuration: dict

    @property
    def records(self):
        """References and trials that did not fail, in the order in which they were measured."""
        return [record for record in (*self.references, *self.trials) if record["error"] is None]

    @property
    def front_records(self):
        """The Pareto front: records that no other record dominates, the best in the first metric first.

        A record dominates another if it is at least as good in every metric and better in one. Of records that are equal in all
        metrics the first is taken.
        """
        records = self.records
        values = np.array([[r["values"][name] for name in self.metrics] for r in records])
        kept = [records[i] for i in np.flatnonzero(non_dominated(values))]
        return sorted(kept, key=lambda record: -record["values"][self.metrics[0]])

    @property
    def best(self):
        """The record of the winner, which may be a reference.

        With one metric it is the best record, the first of equals. With several it is the knee: the member of the front that is
        nearest to the point with the best value of each metric, where every metric is scaled to 0..1 over the front.
        """
        front = self.front_records
        values = np.array([[r["values"][name] for name in self.metrics] for r in front])
        span = np.ptp(values, axis=0)
        missing = (values.max(axis=0) - values) / np.where(span > 0, span, 1)
        return front[int(np.argmin((missing**2).sum(axis=1)))]

    @property
    def preset(self):
        """The winner's `tf_lrp.Preset`, see `best`."""
        return _preset(self.best)

    @property
    def options(self):
        """Options that the analyzer needs in addition: {}, or {"fold_batchnorm": False}."""
        return dict(self.best["options"])

    @property
    def values(self):
        """Metric's name -> the winner's value."""
        return dict(self.best["values"])

    @property
    def value(self):
        """The winner's value of the first metric."""
        return self.best["values"][self.metrics[0]]

    @property
    def front(self):
        """[(`tf_lrp.Preset`, metric's name -> value), ...] of `front_records`; with one metric only the best."""
        return [(_preset(record), dict(record["values"])) for record in self.front_records]

    @property
    def gains(self):
        """Reference's name -> metric's name -> the winner's value minus the reference's, on the data of the search."""
        return {
            r["reference"]: {name: self.values[name] - r["values"][name] for name in self.metrics}
            for r in self.references
            if r["error"] is None
        }

    def analyzer(self, model, **options):
        """The `tf_lrp.Analyzer` of the winner."""
        return Analyzer(model, self.preset, **{**self.options, **options})

    def validate(self, model, data, metric=None, *, batch_size=32):
        """The winner and the references on data that the search did not see.

        Args:
            model: the model.
            data: `tf_lrp.tuning.Data` of other samples than those of the search.
            metric: as for `tune`; by default the metrics of the search. It is required if one of them was a function.
            batch_size: samples that are explained at once.

        Returns:
            `Validation`. References that failed in the search are left out.

        Raises:
            ValueError, TypeError: data or metrics that do not fit the model or each other.
        """
        metrics = metrics_of(list(self.metrics) if metric is None else metric)
        measurer = Measurer(model, data, metrics, batch_size)
        chosen = {"tuned": self.best, **{r["reference"]: r for r in self.references if r["error"] is None}}
        measured = {name: measurer(_preset(record), record["options"]) for name, record in chosen.items()}
        gains = {
            name: {m.name: _gain(measured["tuned"][m.name], measured[name][m.name]) for m in metrics}
            for name in measured
            if name != "tuned"
        }
        return Validation(measured, gains, data_fingerprint(measurer.data))

    # -- files --------------------------------------------------------------------------------------------------------

    def save(self, folder, validation=None, title="Search for a preset", problems=()):
        """Writes the result; files of these names are replaced.

        ``preset.json`` (for ``--preset`` and `tf_lrp.Preset.from_json`); with several metrics ``front-1.json`` ...;
        ``trials.json`` and ``trials.csv`` with every record; ``tuning.png``; ``tuning.json``, a summary with tables.

        Args:
            folder: created if it does not exist.
            validation: result of `validate`, for the summary.
            title: of the summary.
            problems: for the summary, dicts {"name", "what", "detail"} of pictures that could not be used.

        Returns:
            pathlib.Path of the folder.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("front-*.json"):
            old.unlink()
        atomic_files.write(folder / "preset.json", self.preset.to_json() + "\n")
        if len(self.metrics) > 1:
            for number, (preset, _) in enumerate(self.front, 1):
                atomic_files.write(folder / f"front-{number}.json", preset.to_json() + "\n")
        atomic_files.write(folder / "trials.json", json.dumps([*self.references, *self.trials], indent=1) + "\n")
        atomic_files.write(folder / "trials.csv", self._csv())
        caption = figure.save(folder / "tuning.png", self)
        atomic_files.write(
            folder / "tuning.json", json.dumps(self._summary(validation, title, caption, problems), indent=1) + "\n"
        )
        return folder

    def _csv(self):
        records = [*self.references, *self.trials]
        parameters = list(dict.fromkeys(name for r in records for name in r["parameters"] or ()))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["number", "reference", *self.metrics, "seconds", *parameters, "error"])
        for r in records:
            values = [(r["values"] or {}).get(name) for name in self.metrics]
            chosen = [(r["parameters"] or {}).get(name) for name in parameters]
            writer.writerow([r["number"], r["reference"], *values, r["seconds"], *chosen, r["error"]])
        return text.getvalue()

    def _summary(self, validation, title, caption, problems):
        tables = [self._overview()]
        if validation is not None:
            columns, rows = validation.rows()
            shown = f"On {validation.data['x'][0]} samples that the search did not see (mean ± standard error over samples)"
            tables.append({"title": shown, "columns": columns, "rows": rows, "bold": [0]})
        if len(self.metrics) > 1:
            rows = [[n, _label(r), *r["values"].values()] for n, r in enumerate(self.front_records, 1)]
            tables.append({"title": "Pareto front", "columns": ["front", "preset", *self.metrics], "rows": rows})
        tables.append({"title": "The winner's rules", "columns": ["layers", "rule"], "rows": _rules(self.preset)})
        configuration = {**self.configuration, "trials": len(self.trials)}
        if validation is not None:
            configuration["validation data"] = validation.data
        return {
            "kind": "tuning",
            "title": title,
            "configuration": configuration,
            "versions": {"tf_lrp": tf_lrp.__version__, "tensorflow": tf.__version__, "keras": keras.__version__},
            "tables": tables,
            "figures": [{"file": "tuning.png", "caption": caption}],
            "problems": list(problems),
            "notes": self._notes(validation),
        }

    def _overview(self):
        rows = [[f"winner: {_label(self.best)}", *self.values.values(), *(None for _ in self.metrics)]]
        for r in self.references:
            values = r["values"] or dict.fromkeys(self.metrics)
            gains = self.gains.get(r["reference"], dict.fromkeys(self.metrics))
            rows.append([r["reference"], *(values[m] for m in self.metrics), *(gains[m] for m in self.metrics)])
        columns = ["preset", *self.metrics, *(f"winner minus this, {name}" for name in self.metrics)]
        return {"title": "On the data of the search", "columns": columns, "rows": rows, "bold": [0]}

    def _notes(self, validation):
        notes = []
        if validation is None:
            notes.append("The winner was chosen by these data, so its value on them is larger than on others.")
        if self.best["reference"]:
            notes.append(f"No trial did better than the named preset {self.best['reference']}.")
        if self.options:
            given = ", ".join(f"{key}={value}" for key, value in self.options.items())
            notes.append(f"The winner needs the analyzer's option {given}, which preset.json does not hold.")
        notes += [f"{_label(r)} failed: {r['error']}" for r in (*self.references, *self.trials) if r["error"]]
        return notes

    def __str__(self):
        values = ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())
        beaten = "; ".join(
            f"{name} {', '.join(f'{gain:+.4g}' for gain in gains.values())}" for name, gains in self.gains.items()
        )
        return f"{_label(self.best)} of {len(self.trials)} trials: {values} (against {beaten})\n{self.preset}"

    __repr__ = __str__


def non_dominated(values):
    """Which rows (n, m) are not dominated, bool (n,): no other row is at least as large everywhere and larger somewhere.

    Of equal rows only the first is kept.
    """
    at_least = (values[:, np.newaxis] >= values).all(axis=2)
    larger = (values[:, np.newaxis] > values).any(axis=2)
    order = np.arange(len(values))
    earlier_equal = at_least & at_least.T & (order[:, np.newaxis] < order)
    return ~((at_least & larger) | earlier_equal).any(axis=0)


def _preset(record):
    return Preset.from_json(json.dumps(record["preset"]))


def _label(record):
    return record["reference"] or f"trial {record['number']}"


def _rules(preset):
    return [[str(selector), str(rule)] for selector, rule in preset.rules]


def _cell(value, error):
    return value if error is None else [value, error]


def _gain(tuned, reference):
    """(mean, standard error) of the difference, paired: both were measured on the same samples."""
    difference = tuned.value - reference.value
    if tuned.samples is None or len(tuned.samples) < 2:
        return difference, None
    each = tuned.samples - reference.samples
    return difference, float(each.std(ddof=1) / np.sqrt(len(each)))
