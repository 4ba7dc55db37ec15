"""What methods that differentiate the model itself have in common."""

from __future__ import annotations

from tf_lrp.explain.explainer import Explainer
from tf_lrp.explain.names import output_names
from tf_lrp.graph import canonize, unroll
from tf_lrp.graph.build import build, working_type
from tf_lrp.graph.category_inputs import CategoryInputs
from tf_lrp.graph.heads import warn_of_probabilities
from tf_lrp.graph.kernels import warn_of_missing_kernels
from tf_lrp.keras_compat.own_operations import Entries
from tf_lrp.methods import checks
from tf_lrp.rules import Pass
from tf_lrp.twins import GradientTwin
from tf_lrp.twins.categories import EntriesTwin


class Method(Explainer):
    """A method that runs the model as it is, perhaps with backward passes of its own at some operations.

    Args:
        model: a built Keras 3 model, as for `tf_lrp.Analyzer`.
        strip_softmax: whether a softmax or sigmoid at an output is left out, so that scores (logits) are explained.
        fold_batchnorm: whether batch normalizations are merged into neighbouring linear layers where that is exact.
        inputs: for a subclassed model, the keras.Input tensors it is explained for.
        check: whether a model outside the method's assumptions gives a `MethodWarning`.
        batch_size, verbose, jit_compile, trace: see `Explainer`.
    """

    def __init__(self, model, *, strip_softmax=True, fold_batchnorm=True, inputs=None, check=True, **options):
        self.graph = canonize(unroll(model, inputs), strip_heads=strip_softmax, fold=fold_batchnorm)
        warn_of_missing_kernels(self.graph, options.get("jit_compile"))
        if strip_softmax:
            warn_of_probabilities(self.graph)
        if check:
            checks.warn(type(self).__name__, self.assumptions(), self.graph)
        dtype = working_type(self.graph)

        def twin_at(position):
            node = self.graph.nodes[position]
            arguments = {"name": node.name, "dtype": dtype, "arguments": (node.args, node.kwargs)}
            if isinstance(node.operation, Entries):
                return EntriesTwin(node.operation, Pass(), **arguments)
            return self.twin_of(node, function=node.affine, operation=node.operation, rule=None, **arguments)

        self.built = build(self.graph, twin_at, dtype, model.name)
        twin = self.built.model
        categories = CategoryInputs(self.graph, self.built)
        super().__init__(model.name, twin, self.built.results, output_names(twin, model), categories=categories, **options)

    def twin_of(self, node, **arguments):
        """The layer in the place of a node; a subclass gives some nodes a backward pass of their own."""
        return GradientTwin(**arguments)

    def assumptions(self):
        """Names of the checks in `tf_lrp.methods.checks` that a model should pass."""
        return ("scores",)

    @property
    def channel_axis(self):
        """Where pictures have their channels, as the model's convolutions read them."""
        return 1 if any(getattr(node.affine, "channels_first", False) for node in self.graph.nodes) else -1

    def parameters(self):
        """The method's own parameters, for JSON."""
        return {}

    def configuration(self):
        return {"method": type(self).__name__, "parameters": self.parameters()}
