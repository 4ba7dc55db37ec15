"""One evaluation from beginning to end: a network, an annotated data set, methods, and a folder that keeps the results."""

from __future__ import annotations

import importlib.metadata
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tf_lrp import heatmap, presets
from tf_lrp.analyzer import Analyzer
from tf_lrp.evaluation.engine.batch import batches
from tf_lrp.evaluation.engine.log import MeasurementLog, measure_missing
from tf_lrp.evaluation.tables import write_json
from tf_lrp.methods import catalog
from tf_lrp.methods.gradient import Gradient
from tf_lrp.runs.fingerprints import digest
from tf_lrp.vision import classifier as classifiers
from tf_lrp.vision import image_grid

#: The methods that Table I of Kohlbrenner et al. 2020 compares with LRP, and gradient times input.
COMPARED_METHODS = ("guided_backprop", "pattern_attribution", "input_t_gradient")
#: Number of pictures at the start of a data set from which patterns are learned and the mean colour is taken.
NUM_FIRST_PICTURES = 64


def method_names(text):
    """The names of methods in a comma-separated list.

    Args:
        text: names of `catalog.names`, and presets with parameters or in a FILE.json (see `EvaluationRun.explainers`); "all"
            stands for all presets and `COMPARED_METHODS`, "presets" for all presets. A comma before PARAMETER=VALUE separates
            parameters of the same preset.

    Returns:
        tuple of str, each once.

    Raises:
        ValueError: there is no name.
    """
    parts = []
    for part in text.split(","):
        if parts and "=" in part and ":" not in part:
            parts[-1] += f",{part.strip()}"
        else:
            parts.append(part.strip())
    groups = {"all": (*presets.names(), *COMPARED_METHODS), "presets": presets.names()}
    names = tuple(dict.fromkeys(name for part in parts if part for name in groups.get(part, (part,))))
    if not names:
        raise ValueError('Expected the names of presets or methods, separated by commas, or "all"; got none.')
    return names


@dataclass
class EvaluationRun:
    """What an evaluation measures, and where its results are written.

    Attributes:
        classifier: `classifier.Classifier`, the network with its preprocessing.
        network, data: their names in tables.
        dataset: `datasets.Dataset`.
        out: folder for results, from which an interrupted evaluation is resumed.
        batch_size: pictures that are explained at once.
        limit: number of pictures; None for all.
        progress: called with the number of pictures that are done, and the number of those that were in the folder already.
        failed: name of a method -> why it cannot explain the network.
        definitions: name of a method -> its configuration.
    """

    classifier: classifiers.Classifier
    network: str
    data: str
    dataset: object
    out: Path
    batch_size: int = 16
    limit: int | None = None
    progress: Callable[[int, int], None] = lambda done, skipped: None
    failed: dict[str, str] = field(default_factory=dict, init=False)
    definitions: dict[str, dict] = field(default_factory=dict, init=False)
    _analyzer: Analyzer | None = field(default=None, init=False)

    @property
    def title(self):
        """The network and the data, without the folders in their paths."""
        kind, colon, place = self.data.partition(":")
        return f"{self.network if '/' not in self.network else Path(self.network).name} on {kind}{colon}{Path(place).name}"

    def batches(self, limit=None):
        """Yields the `Batch` of the first pictures: at most ``limit``, and at most the limit of the run."""
        limits = [n for n in (limit, self.limit) if n is not None]
        return batches(self.dataset, self.classifier.size, self.batch_size, min(limits, default=None))

    def first_pictures(self):
        """uint8 (n, height, width, 3): the first pictures, from which patterns are learned and the mean colour is taken."""
        images = [image for batch in self.batches(NUM_FIRST_PICTURES) for image in batch.images]
        if not images:
            raise ValueError(self._why_empty())
        return np.stack(images)

    def explainers(self, methods, parse):
        """The explainers of the methods that can explain the network; `failed` holds why the others cannot.

        Args:
            methods: names.
            parse: text -> (preset, label), for presets that are not in the catalog under that name.

        Returns:
            dict name -> `Explainer`.

        Raises:
            ValueError: none of them can explain the network.
        """
        explainers = {}
        for name in methods:
            try:
                explainers[name] = self._explainer(name, parse)
                self.definitions[name] = explainers[name].configuration()
            except (ValueError, TypeError, NotImplementedError) as error:
                if name not in catalog.names():
                    raise  # a typing error, not a method that cannot explain this network
                self.failed[name] = str(error)
        if not explainers:
            raise ValueError(f"None of the methods can explain this network: {next(iter(self.failed.values()))}")
        return explainers

    def _explainer(self, name, parse):
        # Traced at once, so that an evaluation that is resumed computes the same bits as one that was not interrupted.
        options = {"batch_size": self.batch_size, "verbose": False, "trace": "always"}
        if name in presets.names() or name not in catalog.names():
            preset = name if name in presets.names() else parse(name)[0]
            if self._analyzer is None:
                self._analyzer = Analyzer(self.classifier.model, preset, **options)
            return self._analyzer.with_preset(preset)  # the network is opened once
        explainer = catalog.explainer(name, self.classifier.model, **options)
        if getattr(explainer, "patterns", True) is None:
            explainer.fit(self.classifier.prepare(self.first_pictures()))
        return explainer

    def log(self, kind, **settings):
        """(`MeasurementLog` of one kind of evaluation in the folder, its configuration)."""
        configuration = {
            "kind": kind,
            "network": self.network,
            "weights": digest(self.classifier.model.get_weights()),
            "data": self.data,
            "size": list(self.classifier.size),
            "batch size": self.batch_size,
            "pictures": self.limit,
            **settings,
        }
        return MeasurementLog(self.out / f"{kind}.jsonl", configuration), configuration

    def measure(self, methods, log):
        """Measures with every method on every batch; what is in the log already is not measured again.

        Raises:
            ValueError: no picture could be used.
        """
        measure_missing(self.batches(), methods, log, self.progress, self.definitions)
        if log.empty:
            raise ValueError(self._why_empty())

    def _why_empty(self):
        unknown = any(p.what == "unknown class" for p in self.dataset.problems)
        hint = " Classes are known by the network's own names, or those of --classes FILE." if unknown else ""
        return f"{self.data} has no usable picture: {'; '.join(self.problem_counts()) or 'it is empty'}.{hint}"

    def problem_counts(self):
        """What was left out of the data set, by kind: list of str."""
        return [f"{count} x {what}" for what, count in Counter(p.what for p in self.dataset.problems).most_common()]

    def write(self, kind, title, configuration, tables, figures, examples=(), notes=()):
        """Writes tables as Markdown, CSV and JSON, with everything that the report shows.

        Args:
            kind: also the beginning of the files' names.
            title: of the evaluation.
            configuration: from `log`.
            tables: of `tables.Table`.
            figures, examples: (file name, caption) of pictures that are in the folder already.
            notes: lines of text.

        Returns:
            list of paths.
        """
        notes = [*notes, *(f"{name} could not explain this network: {why}" for name, why in self.failed.items())]
        left_out = self.problem_counts()
        if left_out:
            notes.append(f"Left out: {', '.join(left_out)}.")
        text = "\n".join([f"# {title}\n", *(table.markdown() for table in tables), *(f"{note}\n" for note in notes)])
        paths = [self.out / f"{kind}.md", self.out / f"{kind}.json"]
        paths[0].write_text(text, encoding="utf-8")
        for n, table in enumerate(tables):
            paths.append(self.out / (f"{kind}.csv" if n == 0 else f"{kind}-{n + 1}.csv"))
            paths[-1].write_text(table.csv(), encoding="utf-8")
        versions = {name: importlib.metadata.version(name) for name in ("tf_lrp", "tensorflow", "keras", "numpy")}
        write_json(
            paths[1],
            {
                "kind": kind,
                "title": title,
                "configuration": configuration,
                "versions": versions,
                "tables": [table.data() for table in tables],
                "figures": [{"file": file, "caption": caption} for file, caption in figures],
                "examples": [{"file": file, "caption": caption} for file, caption in examples],
                "problems": [{"name": p.name, "what": p.what, "detail": p.detail} for p in self.dataset.problems],
                "notes": notes,
            },
        )
        return [*paths, *(self.out / file for file, _ in (*figures, *examples))]

    def examples(self, explainers, count=3, at_most=8):
        """Writes a grid of heatmaps: the first pictures, each explained for its first class by the first methods.

        Returns:
            str, the name of the file.
        """
        chosen = dict(itertools.islice(explainers.items(), at_most))
        rows, titles = [], []
        for batch in self.batches(count):
            maps = {
                name: explainer.analyze(self.classifier.prepare(batch.images), batch.labels[:, 0])
                for name, explainer in chosen.items()
            }
            for i, image in enumerate(batch.images):
                rows.append([image, *(heatmap.to_rgb(maps[name][i : i + 1], "bwr", percentile=99.5)[0] for name in chosen)])
                titles.append(self.classifier.classes.short[batch.labels[i, 0]])
        heatmap.save(image_grid.grid(rows, titles, ["picture", *chosen], cell_size=160), self.out / "examples.png")
        return "examples.png"


def scores_model(model):
    """The model up to its scores: without a softmax or sigmoid at the end."""
    return Gradient(model).twin
