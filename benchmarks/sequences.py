"""What an explanation of a transformer or a recurrent network costs: presets against the plain gradient, and against lxt.

    python benchmarks/sequences.py [--lxt-python PATH] [--networks ...] [--turns 7] [--out table.md]

Random weights, batches of 1, float32, times from NumPy to NumPy:

- ViT-B/16, 224x224, 1000 classes: keras_hub, and torchvision for lxt (`lxt.efficient`'s map for it, CP-LRP in the attention);
- BERT-base, 128 tokens, 2 classes: keras_hub, and Hugging Face transformers for lxt (AttnLRP). Everything is explained at the
  sum of the embeddings' rows, not at ids;
- biLSTM: two bidirectional LSTMs of 256 units over 64 steps of 128 numbers, 2 classes.

lxt needs PyTorch, so it is measured in an environment of its own: ``python3 -m venv lxt-venv && lxt-venv/bin/pip install torch
torchvision zennit lxt "transformers<4.53"``. Of ours, all methods of a network take turns in one process. lxt's rules change
PyTorch's classes for good, so each of its methods has a process of its own, one after the other; so has every method for its
peak memory. Ratios are medians of those within a turn, of CPU time summed over threads, since other work may share the machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from performance_worker import peak_memory, tensorflow_versions

SEED, TOKENS, STEPS, FEATURES = 7, 128, 64, 128
METHODS = {
    "tf_lrp": {
        "ViT-B/16": ("gradient", "attnlrp", "cp_lrp"),
        "BERT-base": ("gradient", "attnlrp", "cp_lrp"),
        "biLSTM": ("gradient", "epsilon", "attnlrp", "cp_lrp"),
    },
    "lxt": {"ViT-B/16": ("gradient", "cp_lrp"), "BERT-base": ("gradient", "attnlrp")},
}


def data(network):
    """One sample: a picture (1, 224, 224, 3), ids of tokens (1, TOKENS) or numbers (1, STEPS, FEATURES)."""
    rng = np.random.default_rng(SEED)
    if network == "BERT-base":
        return rng.integers(0, 30522, (1, TOKENS)).astype("int32")
    shape = (1, 224, 224, 3) if network == "ViT-B/16" else (1, STEPS, FEATURES)
    return rng.normal(size=shape).astype("float32")


# -- libraries: versions() and explainer(network, method), a function from NumPy to NumPy ---------------------------------


class Keras:
    """tf_lrp, and the gradient of the same Keras model compiled by tf.function."""

    def versions(self):
        import keras
        import keras_hub
        import tensorflow as tf

        return {**tensorflow_versions(tf), "Keras": keras.__version__, "keras_hub": keras_hub.__version__}

    def network(self, name):
        import keras
        from keras import layers

        keras.utils.set_random_seed(SEED)
        if name == "biLSTM":
            recurrent = [layers.Bidirectional(layers.LSTM(256, return_sequences=more)) for more in (True, False)]
            return keras.Sequential([keras.Input((STEPS, FEATURES)), *recurrent, layers.Dense(2)])
        import keras_hub

        sizes = {"num_layers": 12, "num_heads": 12, "hidden_dim": 768}
        if name == "ViT-B/16":
            backbone = keras_hub.models.ViTBackbone(image_shape=(224, 224, 3), patch_size=16, mlp_dim=3072, **sizes)
            return keras_hub.models.ViTImageClassifier(backbone, 1000)
        backbone = keras_hub.models.BertBackbone(30522, intermediate_dim=3072, max_sequence_length=512, **sizes)
        return keras_hub.models.BertTextClassifier(backbone, 2)

    def explainer(self, model, name, method):
        import tensorflow as tf

        import tf_lrp

        def given(x):
            return {"token_ids": x, "segment_ids": x * 0, "padding_mask": x * 0 + 1} if name == "BERT-base" else x

        if method != "gradient":
            analyzer = tf_lrp.Analyzer(model, method, trace="always", verbose=False)

            def explain(x):
                relevance = analyzer.analyze(given(x))
                return relevance["token_ids"] if name == "BERT-base" else relevance

            return explain
        table = model.backbone.token_embedding.embeddings.value if name == "BERT-base" else None

        @tf.function
        def gradient(x):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x if table is None else table)
                score = tf.reduce_max(model(given(x), training=False), axis=1)
            found = tape.gradient(score, x if table is None else table)
            if table is None:
                return found
            rows = tf.reshape(found.values, (*x.shape, -1))  # of a lookup, the gradient is that of the rows looked up
            return tf.reduce_sum(rows * tf.gather(table, x), axis=-1)

        return lambda x: gradient(tf.constant(x)).numpy()


class Lxt:
    """lxt's rules, which change the classes of PyTorch for good, so that each method needs a process of its own."""

    def versions(self):
        from importlib.metadata import version

        return {name: version(name) for name in ("torch", "lxt", "torchvision", "transformers")}

    def network(self, name):
        import torch

        torch.manual_seed(SEED)
        if name == "ViT-B/16":
            from torchvision.models import vision_transformer

            return vision_transformer.vit_b_16(weights=None).eval()
        from transformers import BertConfig, BertForSequenceClassification

        return BertForSequenceClassification(BertConfig(attn_implementation="eager")).eval()

    def explainer(self, model, name, method):
        import torch

        if method != "gradient":
            from lxt.efficient import monkey_patch

            if name == "ViT-B/16":
                from lxt.efficient.models.vit_torch import cp_LRP
                from torchvision.models import vision_transformer

                monkey_patch(vision_transformer, cp_LRP)
            else:
                from lxt.efficient.models import bert
                from transformers.models.bert import modeling_bert

                monkey_patch(modeling_bert, bert.attnLRP)
            model = self.network(name)

        def explain(x):
            if name == "ViT-B/16":
                inputs = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1))).requires_grad_()
                score = model(inputs).max(dim=1).values.sum()
            else:
                inputs = model.get_input_embeddings()(torch.from_numpy(x).long()).detach().requires_grad_()
                score = model(inputs_embeds=inputs).logits.max(dim=1).values.sum()
            (found,) = torch.autograd.grad(score, inputs)
            return (found if method == "gradient" else found * inputs).detach().numpy()

        return explain


LIBRARIES = {"tf_lrp": Keras, "lxt": Lxt}


# -- measuring ------------------------------------------------------------------------------------------------------------


def measure(job):
    """{"versions", "peak" (MiB, with what was there before the network), "before", "seconds": {method: [CPU seconds]}}."""
    library, x = LIBRARIES[job["library"]](), data(job["network"])
    versions, before = library.versions(), peak_memory()
    model, seconds, explainers = library.network(job["network"]), {}, {}

    def timed(method):
        began = time.process_time()
        explainers[method](x)
        return time.process_time() - began

    for method in job["methods"]:
        explainers[method] = library.explainer(model, job["network"], method)
        for _ in range(2):
            timed(method)
        seconds[method] = []
    for _ in range(job["turns"]):
        for method in explainers:
            seconds[method].append(timed(method))
    return {"versions": versions, "before": before, "peak": peak_memory(), "seconds": seconds}


def ask(interpreter, job):
    """The result of a job, measured in a process of its own."""
    ran = subprocess.run(
        [interpreter, __file__, "--worker", json.dumps(job)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"},
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"{job} ended with code {ran.returncode}: {ran.stderr.strip()[-600:]}")
    return json.loads(ran.stdout.splitlines()[-1])


def rows_of(library, network, interpreter, turns):
    """(lines of the table for a network, versions)"""
    methods = METHODS[library][network]

    def asked(*methods):
        return ask(interpreter, {"library": library, "network": network, "methods": methods, "turns": turns})

    apart = {method: asked(method) for method in methods}
    seconds = {m: of["seconds"][m] for m, of in apart.items()} if library == "lxt" else asked(*methods)["seconds"]
    lines = []
    for method, alone in apart.items():
        own = seconds[method]
        ratios = [a / b for a, b in zip(own, seconds["gradient"], strict=True)]
        lines.append(
            f"| {network} | {library} | `{method}` | {statistics.median(own):.2f} | {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f}..{max(ratios):.2f}) | {alone['peak'] - alone['before']:.0f} |"
        )
        print(lines[-1], flush=True)
    return lines, alone["versions"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lxt-python", help="interpreter of an environment with lxt; left out: not measured")
    parser.add_argument("--networks", nargs="*", default=list(METHODS["tf_lrp"]), choices=METHODS["tf_lrp"])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--out", type=Path, help="where the table is written; left out: printed only")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print("\n" + json.dumps(measure(json.loads(arguments.worker))))
        return
    lines, versions = [], {}
    for network in arguments.networks:
        for library, interpreter in (("tf_lrp", sys.executable), ("lxt", arguments.lxt_python)):
            if interpreter and network in METHODS[library]:
                found, versions[library] = rows_of(library, network, interpreter, arguments.turns)
                lines += found
    about = "; ".join(f"{name}: {', '.join(f'{k} {v}' for k, v in of.items())}" for name, of in versions.items())
    page = [
        f"Measured on {datetime.date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores. {about}.",
        "",
        "| network | library | method | CPU seconds | over its own gradient | peak memory, MiB |",
        "|---|---|---|---|---|---|",
        *lines,
    ]
    if arguments.out:
        arguments.out.write_text("\n".join(page) + "\n", encoding="utf-8")
    print("\n".join(page))


if __name__ == "__main__":
    main()
