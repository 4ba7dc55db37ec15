"""Keras models of SavedModels, whoever wrote them: their graphs are read, and nothing in them is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

from tf_lrp.errors import UnsupportedLayerError
from tf_lrp.keras_compat.side_effects import Unexplainable
from tf_lrp.keras_compat.tensorflow_graphs import GraphLayer, GraphProgram, Op
from tf_lrp.messages.names import similar, suggestion

#: Operations that run Python code, or touch files or the network.
_UNSAFE = re.compile(
    r"PyFunc|File|Reader|^(Restore|Save)|Checkpoint|TFRecord|TextLine|Remote|Rpc|DataService|^_?(Host)?(Send|Recv)|SummaryWriter"
)
_DEFAULT_SIGNATURE = "serving_default"
_INITIALIZERS = ("__saved_model_init_op", "__saved_model_train_op")
_OBJECT_GRAPH, _VALUE = "_CHECKPOINTABLE_OBJECT_GRAPH", "VARIABLE_VALUE"


def load(path, signature: str | None = None, input: str | list[str] | None = None) -> Any:
    """Loads a model: a Keras model from a SavedModel, or from a .keras or .h5 file.

    A SavedModel is what ``model.export`` (Keras 3), ``model.save`` (tf.keras of TensorFlow 2), ``tf.saved_model.save`` and
    the builders of TensorFlow 1 write, frozen graphs among them. Its graph becomes a Keras model whose weights are the restored
    variables, and which `tf_lrp.Analyzer` opens into convolutions, normalizations and all other operations, under the names
    that they have in the graph.

    The graph is read, not run: no Python code, no initializer, and no operation that the library does not know. What the
    model computes later are operations of the table in docs/coverage.md alone. So a SavedModel from an untrusted source can
    neither read or write files nor open connections.

    Args:
        path: of the folder, or file.
        signature: name of the signature that becomes the model; by default "serving_default", or the only one.
        input: where the model begins: the name of an input of the signature or of a tensor inside the graph
            ("resized:0"), or a list of names. By default all inputs of the signature. A tensor inside the graph leaves out what
            comes before it, such as the decoding of pictures.

    Returns:
        keras.Model. Its inputs are in the order of ``input``, or in alphabetical order; several outputs are a dict by their
        names in the signature. ``model.class_names`` is a list if the SavedModel has a text file with one name for each output
        among its assets, else None.

    Raises:
        FileNotFoundError: if there is nothing at ``path``.
        ValueError: if it is no SavedModel, or has no such signature or input.
        UnsupportedLayerError: if the graph has operations that the library does not know; all are listed.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no model at {str(path)!r}.")
    if path.is_file():
        from tf_lrp.files.model_files import load_model

        if signature is not None or input is not None:
            raise ValueError(f"signature and input are for SavedModels, which are folders; {str(path)!r} is a file.")
        return load_model(path)
    meta = _meta_graph(path)
    described = _signature(meta, signature, path)
    name = re.sub(r"\W+", "_", path.resolve().name) or "saved_model"
    try:
        return _model(meta, described, input, path, name)
    except Unexplainable as problem:
        raise UnsupportedLayerError(f"The SavedModel {str(path)!r} cannot be explained: {problem}.") from None


def is_saved_model(path):
    """Whether there is a SavedModel in a folder."""
    return any((Path(path) / f"saved_model.{ending}").is_file() for ending in ("pb", "pbtxt"))


def _meta_graph(path):
    """The graph for inference, with its signatures (a ``MetaGraphDef``)."""
    if not is_saved_model(path):
        raise ValueError(f"{str(path)!r} is no SavedModel: it has no file saved_model.pb.")
    saved = saved_model_pb2.SavedModel()
    try:
        binary = path / "saved_model.pb"
        if binary.is_file():
            saved.ParseFromString(binary.read_bytes())
        else:
            text_format.Parse((path / "saved_model.pbtxt").read_text(encoding="utf-8"), saved)
    except (DecodeError, text_format.ParseError) as error:
        raise ValueError(f"{str(path)!r} is no SavedModel: its saved_model file cannot be read ({error}).") from None
    serving = [meta for meta in saved.meta_graphs if "serve" in meta.meta_info_def.tags]
    if not saved.meta_graphs:
        raise ValueError(f"{str(path)!r} is no SavedModel: it holds no graph.")
    return (serving or list(saved.meta_graphs))[0]


def _signature(meta, wanted, path):
    """The description of a signature (a ``SignatureDef``)."""
    known = {name: s for name, s in meta.signature_def.items() if name not in _INITIALIZERS and s.inputs and s.outputs}
    if wanted is None:
        wanted = _DEFAULT_SIGNATURE if _DEFAULT_SIGNATURE in known or len(known) != 1 else next(iter(known))
    if wanted not in known:
        names = ", ".join(map(repr, sorted(known))) or "none"
        raise ValueError(
            f"{str(path)!r} has no signature {wanted!r}, but {names}.{suggestion(similar(wanted, known))} "
            + ("Save it with signatures=." if not known else "Choose one with signature=.")
        )
    return known[wanted]


def _model(meta, signature, wanted, path, name):
    program = GraphProgram(meta.graph_def)
    tensors, inputs = _inputs(program, signature, wanted)
    placeholders = [Op("Placeholder", f"input_{n}") for n in range(len(inputs))]
    given = {tensor: (op, 0) for tensor, op in zip(tensors, placeholders, strict=True)}
    results = {key: info.name for key, info in sorted(signature.outputs.items())}
    _refuse_unsafe(program, [*results.values()], {tensor.split(":")[0] for tensor in tensors}, path)
    outputs = program.outputs(list(results.values()), given)

    def structure(values):
        return values[0] if len(values) == 1 else dict(zip(results, values, strict=True))

    layer = GraphLayer(program, placeholders, outputs, _Variables(meta, path), structure, name=f"{name}_graph")
    model = keras.Model(inputs if len(inputs) > 1 else inputs[0], layer(*inputs), name=name)
    model.class_names = _class_names(meta, path, model)
    return model


def _refuse_unsafe(program, results, inputs, path):
    """Raises if there is an operation before the outputs, or in a function called there, that does more than compute.

    Such operations would not run. But a model that has some is not what it seems to be, or begins before its first layer.
    """
    nodes = dict(program.nodes)
    found, waiting, called = set(), list(results), set()
    while waiting:
        name = waiting.pop().removeprefix("^").split(":")[0]
        if name in found or name in inputs or name not in nodes:
            continue
        found.add(name)
        waiting.extend(nodes[name].input if name in program.nodes else ())  # of functions, all operations are looked at
        for function in _functions_of(nodes[name]) | {nodes[name].op}:
            if function in program.functions and function not in called:
                called.add(function)
                inner = {f"{function}/{node.name}": node for node in program.functions[function].node_def}
                nodes |= inner
                waiting.extend(inner)
    unsafe = sorted({f"{nodes[name].op} ({nodes[name].name})" for name in found if _UNSAFE.search(nodes[name].op)})
    if unsafe:
        raise UnsupportedLayerError(
            f"The SavedModel {str(path)!r} is refused: it has operations that run Python code, or touch files or the network: "
            f"{', '.join(unsafe)}. If they only prepare the inputs, name the tensor behind them: tf_lrp.load(path, "
            'input="name:0").'
        )


def _functions_of(node):
    """The names of the functions that an operation calls."""
    return {f.name for value in node.attr.values() for f in [value.func, *value.list.func] if f.name}


def _inputs(program, signature, wanted):
    """Names of the tensors at which the model begins, and a keras.Input for each."""
    names = sorted(signature.inputs) if wanted is None else [wanted] if isinstance(wanted, str) else list(wanted)
    tensors, inputs = [], []
    for name in names:
        if name in signature.inputs:
            info = signature.inputs[name]
            tensors.append(info.name)
            sizes, dtype = info.tensor_shape, tf.as_dtype(info.dtype)
        elif name.split(":")[0] in program.nodes:
            tensors.append(name if ":" in name else f"{name}:0")
            sizes, dtype = _inner(program, name)
        else:
            raise ValueError(
                f"There is no input or tensor {name!r} in the graph.{suggestion(similar(name, signature.inputs))} Inputs "
                f"of the signature are {', '.join(map(repr, sorted(signature.inputs)))}; a tensor inside the graph is called "
                '"resized:0".'
            )
        if sizes.unknown_rank:
            raise ValueError(f"The rank of the input {name!r} is unknown: save the model with a signature that has shapes.")
        shape = tuple(None if dim.size < 0 else dim.size for dim in sizes.dim)
        plain = re.sub(r"[^\w.-]+", "_", name)
        inputs.append(keras.Input(batch_shape=shape, dtype=dtype.name, name=plain))
    return tensors, inputs


def _inner(program, name):
    """Shape and type of a tensor inside the graph, as TensorFlow infers them; nothing is run."""
    graph_def = tf.compat.v1.GraphDef()
    graph_def.node.extend(program.nodes.values())
    graph_def.library.function.extend(program.functions.values())
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(graph_def, name="")
    tensor = graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    return tensor.shape.as_proto(), tensor.dtype


class _Variables:
    """The values of a graph's variables, from the checkpoint: a function of the operation that is the variable."""

    def __init__(self, meta, path):
        prefix = path / "variables" / "variables"
        self.path = path
        self.reader = tf.train.load_checkpoint(str(prefix)) if prefix.with_suffix(".index").is_file() else None
        self.objects = meta.object_graph_def
        self.keys, self.nodes = {}, {}
        if self.reader is not None and self.reader.has_tensor(_OBJECT_GRAPH):
            saved = trackable_object_graph_pb2.TrackableObjectGraph()
            saved.ParseFromString(self.reader.get_tensor(_OBJECT_GRAPH))
            for number, node in enumerate(saved.nodes):
                for attribute in node.attributes:
                    if attribute.name == _VALUE:
                        self.keys[number] = attribute.checkpoint_key
        for node in meta.graph_def.node:
            function = self.objects.concrete_functions.get(node.attr["f"].func.name)
            if function is not None and function.bound_inputs:  # what a function captures is at the end of its arguments
                captured = list(node.input)[-len(function.bound_inputs) :]
                self.nodes |= {text.split(":")[0]: n for text, n in zip(captured, function.bound_inputs, strict=False)}

    def __call__(self, op):
        number = self.nodes.get(op.name)
        name = op.attr("shared_name") or op.name
        key = self.keys.get(number, name)
        if self.reader is None or not self.reader.has_tensor(key):
            raise ValueError(
                f"The variable {op.name!r} of the SavedModel {str(self.path)!r} has no value in its folder variables, so that "
                "the model cannot be restored: was the whole folder copied?"
            )
        trainable = self.objects.nodes[number].variable.trainable if number is not None else True
        return name, self.reader.get_tensor(key), trainable


def _class_names(meta, path, model):
    """The lines of a text file among the assets, if there is one for each of the model's outputs; else None."""
    counts = {tensor.shape[-1] for tensor in model.outputs}
    for file in sorted((path / "assets").glob("*.txt")) + sorted((path / "assets.extra").glob("*.txt")):
        if file.stat().st_size > _LONGEST_LABELS:
            continue
        lines = [line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
        if counts == {len(lines)} and all(lines):
            return lines
    return None


#: A file with class names has no more bytes than this.
_LONGEST_LABELS = 10_000_000
