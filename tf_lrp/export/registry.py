"""The formats that explanations are exported to: one class each, registered with one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line lists the formats, and imports no TensorFlow for that
    from tf_lrp.explain.explainer import Explainer
    from tf_lrp.export.forward_only import ForwardGraph
    from tf_lrp.export.function import ExportFunction

#: Format -> its target, in the order in which they are listed.
FORMATS: dict[str, ExportTarget] = {}


@dataclass(frozen=True)
class ExportRequest:
    """What is to be written.

    Attributes:
        analyzer: `tf_lrp.Analyzer`, or another explainer.
        description: JSON text that travels with the file: inputs and outputs, preset, labels, versions.
        layers: names of layers whose outputs' relevance is among the results, or None.
        output: name or index of the explained output, or None for the only one.
        neuron_selection: what is explained, the same for all samples; None for each sample's strongest neuron.
        labels: class names, or None.
        selecting: whether the neuron to explain is an input of the file.
        batch_size: number of samples, for formats in which it is fixed.
        input_shape: shape of a sample, or a list of shapes for several inputs, for formats in which it is fixed.
    """

    analyzer: Explainer
    description: str
    layers: Sequence[str] | None = None
    output: str | int | None = None
    neuron_selection: Any = None
    labels: Sequence[str] | None = None
    selecting: bool = False
    batch_size: int = 1
    input_shape: Sequence | None = None

    def function(self, selecting: bool | None = None) -> ExportFunction:
        """The explanation as a function of tensors.

        Args:
            selecting: whether the neuron to explain is an argument; by default as the request says.
        """
        from tf_lrp.export.function import ExportFunction

        selecting = self.selecting if selecting is None else selecting
        return ExportFunction(self.analyzer, selecting, self.layers, self.output, self.neuron_selection)

    def forward_graph(self) -> ForwardGraph:
        """The explanation as a TensorFlow graph of forward operations only, with all lengths known.

        Raises:
            ValueError: for lengths that are left open, and for models that look up strings or integers in tables.
        """
        from tf_lrp.export.forward_only import forward_graph

        return forward_graph(self)


class ExportTarget:
    """A format. A subclass defines `write` and is registered by `register_target`."""

    #: What it is and which runtime reads it, in a few words: the command line's help shows it.
    summary = ""

    def write(self, request: ExportRequest, path: Path) -> None:
        """Writes the explanation, and raises RuntimeError if what was written computes something else.

        Args:
            request: `ExportRequest`.
            path: a file or folder that does not exist. Files that are written beside it travel along.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define write(request, path)")

    def is_export(self, path: Path) -> bool:
        """Whether what lies at ``path`` may be an earlier export in this format, which ``overwrite`` allows to replace."""
        return path.is_file()


def register_target(name: str):
    """Decorator of an `ExportTarget` class: makes it known as a format.

    Args:
        name: what ``Analyzer.export(path, format=name)`` and ``tf-lrp export --format`` call it.

    Raises:
        TypeError: for what is no subclass of `ExportTarget`.
        ValueError: for a name that is taken.
    """

    def register(target_class):
        if not (isinstance(target_class, type) and issubclass(target_class, ExportTarget)):
            raise TypeError(f"register_target expects a subclass of ExportTarget; got {target_class!r}.")
        if name in FORMATS and type(FORMATS[name]).__qualname__ != target_class.__qualname__:
            raise ValueError(f"There is a format {name!r} already: {type(FORMATS[name]).__name__}. Choose another name.")
        FORMATS[name] = target_class()
        return target_class

    return register
