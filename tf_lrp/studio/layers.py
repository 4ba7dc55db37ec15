"""The layers of a model as the ruler shows them, and presets as segments of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import tree

from tf_lrp import select
from tf_lrp.files import preset_json
from tf_lrp.keras_compat.own_operations import Entries
from tf_lrp.presets import Preset
from tf_lrp.studio import schemas
from tf_lrp.studio.designs import read_preset
from tf_lrp.studio.problems import ProblemError

#: Kinds that have a colour, the most telling first.
_COLOURED = (
    "conv", "depthwise", "conv_transpose", "recurrent", "embedding", "dense", "batch_normalization", "normalization", "pooling",
    "attention", "softmax", "activation", "merge", "matmul", "product", "rescaling", "resampling", "transform", "weights",
)  # fmt: skip


class Ruler:
    """The layers of one model.

    Args:
        rewritten: `tf_lrp.graph.rewrite.Rewritten` of any preset.

    Attributes:
        weighted: `Facts` of the layers with weights, in the order of their indices.
        others: `Facts` of the other layers.
    """

    def __init__(self, rewritten):
        self._graph = rewritten.graph
        self._chosen = [c for c in rewritten.chosen if not isinstance(c.node.operation, Entries)]
        facts = [c.facts for c in self._chosen]
        self.weighted = sorted((f for f in facts if f.index is not None), key=lambda f: f.index)
        self.others = [f for f in facts if f.index is None]

    def layers(self) -> schemas.Layers:
        """All layers, the inputs first."""
        named, depth, found = {}, {}, []
        relevance = {id(t): name for name, tensors in reversed(list(self._graph.layer_outputs.items())) for t in tensors}
        for tensor in tree.flatten(self._graph.inputs):
            named[id(tensor)], depth[tensor.name] = tensor.name, 0
            found.append(self._input(tensor))
        for node in self._graph.nodes:
            if isinstance(node.operation, Entries):  # stands for the input that it reads
                named[id(node.output)] = named[id(node.inputs[0])]
        position = -1
        for chosen in self._chosen:
            node, facts = chosen.node, chosen.facts
            inputs = list(dict.fromkeys(named[id(t)] for t in node.inputs if id(t) in named))
            named.update((id(t), facts.name) for t in node.outputs)
            depth[facts.name] = 1 + max((depth[name] for name in inputs), default=0)
            position = position if facts.index is None else facts.index
            shape = list(node.output.shape[1:])
            own = facts.name if facts.name in self._graph.layer_outputs else relevance.get(id(node.output))
            found.append(
                schemas.Layer(
                    name=facts.name,
                    layer_class=facts.layer_class,
                    kinds=sorted(facts.kinds),
                    kind=_coloured(facts.kinds),
                    inputs=inputs,
                    output_shape=shape,
                    channels=shape[-1] if shape else None,
                    weighted=facts.index is not None,
                    index=facts.index,
                    segment_position=position,
                    relevance=own if facts.depends_on_input else None,
                    depth=depth[facts.name],
                )
            )
        outputs = [named[id(t)] for t in tree.flatten(self._graph.outputs)]
        return schemas.Layers(layers=found, outputs=outputs)

    def preset(self, segments: Sequence[schemas.Segment], others: Sequence[dict[str, Any]], name: str) -> Preset:
        """The preset of segments.

        Args:
            segments: from the input to the output, without gaps.
            others: entries of a preset's JSON, for layers without weights.
            name: of the preset.

        Raises:
            ProblemError: segments with gaps or beyond the layers, or rules that there are not.
        """
        expected = 0
        for number, segment in enumerate(segments, 1):
            if segment.first != expected or segment.last < segment.first:
                raise ProblemError(
                    400,
                    f"Segments follow each other without gaps: segment {number} needs to begin at {expected} and not to end "
                    f"before; it goes from {segment.first} to {segment.last}.",
                )
            expected = segment.last + 1
        if expected != len(self.weighted):
            raise ProblemError(
                400,
                f"Segments cover the layers with weights, 0 to {len(self.weighted) - 1}; these end at {expected - 1}.",
            )
        entries = [{"select": "index", "start": s.first, "stop": s.last, "rule": s.rule} for s in segments]
        return read_preset({"name": name, "rules": [*others, *entries]})

    def segments(self, preset: Preset) -> tuple[list[schemas.Segment], list[dict[str, Any]], bool]:
        """A preset as segments: (segments, entries for layers without weights, whether the preset consists of just these).

        Raises:
            ValueError: if the preset has no rule for a layer with weights.
        """
        rules = [preset.choose(facts).rule for facts in self.weighted]
        starts = [n for n in range(len(rules)) if n == 0 or not _same(rules[n], rules[n - 1])]
        stops = [*starts[1:], len(rules)]
        as_dicts = [entry["rule"] for entry in preset_json.as_dict(preset)["rules"]]
        by_rule = [(rule, as_dict) for (_, rule), as_dict in zip(preset.rules, as_dicts, strict=True)]
        segments = [
            schemas.Segment(first=start, last=stop - 1, rule=next(d for rule, d in by_rule if rule is rules[start]))
            for start, stop in zip(starts, stops, strict=True)
        ]
        with_weights = select.index(0, -1)
        others = []
        for selector, rule in preset.rules:
            if any(selector.selects(facts) for facts in self.others):
                alone = not any(selector.selects(facts) for facts in self.weighted)
                others.append((selector if alone else selector & ~with_weights, rule))
        ranges = [(select.index(s.first, s.last), rules[s.first]) for s in segments]
        exact = tuple(preset.rules) == (*others, *ranges)
        entries = preset_json.as_dict(Preset(tuple(others)))["rules"]
        return segments, entries, exact

    def _input(self, tensor):
        shape = list(tensor.shape[1:])
        return schemas.Layer(
            name=tensor.name, layer_class="InputLayer", kinds=["input"], kind="input", inputs=[], output_shape=shape,
            channels=shape[-1] if shape else None, weighted=False, index=None, segment_position=-1, relevance=None, depth=0,
        )  # fmt: skip


def _same(one, other):
    return type(one) is type(other) and one == other


def _coloured(kinds):
    return next((kind for kind in _COLOURED if kind in kinds), "structural")
