"""Measures one library on one network, as `performance.py` asks; runs under the interpreter that has the library.

    python benchmarks/performance_worker.py '{"library": "tf_lrp", "kind": "time", ...}'

Prints one line of JSON. It needs NumPy and the library it measures, and no more of this repository than tf_lrp itself; its
syntax is that of Python 3.8, for older libraries.
"""

import copy
import json
import os
import re
import sys
import time
from pathlib import Path

import numpy as np

CLASSES = 1000
SEED = 7
#: Seconds after which one more call is warm-up enough.
WARM = 1.0


def peak_memory():
    """The most that this process ever held in main memory, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of a fresh process may be that of the one that started it
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text()).group(1)) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def memory_now():
    """What this process holds in main memory now, in MiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text()).group(1)) / 2**10


def pictures(batch, size, axis):
    """float32 (batch, size, size, 3), or channels at another axis: standard normal numbers."""
    x = np.random.default_rng(SEED).normal(size=(batch, size, size, 3)).astype("float32")
    return np.ascontiguousarray(np.moveaxis(x, -1, axis))


# -- libraries ----------------------------------------------------------------------------------------------------------
# Each has: versions, gpu (name or None), use_threads(count), network(job) (which it keeps), explainer(method, job), which is a
# function from NumPy to NumPy, and device_peak(), the MiB that its GPU held at most, or None.


def tensorflow_versions(tf):
    """TensorFlow's version, and whether it computes with oneDNN on the CPU."""
    from tensorflow.python.util import _pywrap_util_port

    return {"TensorFlow": tf.__version__, "oneDNN": "on" if _pywrap_util_port.IsMklEnabled() else "off"}


class Tensorflow:
    """tf_lrp, and the gradient of the same Keras model compiled by tf.function."""

    axis = -1

    def __init__(self):
        import keras
        import tensorflow as tf

        import tf_lrp

        self.keras, self.tf, self.tf_lrp = keras, tf, tf_lrp
        tf_lrp.Analyzer  # noqa: B018  imported when first used
        self.gpus = tf.config.list_physical_devices("GPU")
        self.versions = {**tensorflow_versions(tf), "Keras": keras.__version__, "tf_lrp": tf_lrp.__version__}

    @property
    def gpu(self):
        if not self.gpus:
            return None
        return self.tf.config.experimental.get_device_details(self.gpus[0]).get("device_name", "GPU")

    def use_threads(self, count):
        self.tf.config.threading.set_intra_op_parallelism_threads(count)
        self.tf.config.threading.set_inter_op_parallelism_threads(count)

    def network(self, job):
        keras = self.keras
        keras.utils.set_random_seed(SEED)
        build, shape = getattr(keras.applications, job["network"]), (job["size"], job["size"], 3)
        if job.get("top", True):
            self.model = build(weights=None, input_shape=shape, classes=CLASSES, classifier_activation=None)
        else:
            features = build(weights=None, input_shape=shape, include_top=False, pooling="avg")
            self.model = keras.Model(features.input, keras.layers.Dense(CLASSES)(features.output))

    def explainer(self, method, job):
        targets = job["targets"]
        if method != "gradient":
            analyzer = self.tf_lrp.Analyzer(self.model, method, trace=job.get("trace", "always"))
            selection = None if targets is None else np.tile(np.arange(targets), (job["batch"], 1))
            return lambda x: analyzer.analyze(x, selection, verbose=False)
        tf, model = self.tf, self.model

        def gradient(x):
            with tf.GradientTape(persistent=targets is not None, watch_accessed_variables=False) as tape:
                tape.watch(x)
                scores = model(x, training=False)
                explained = [tf.reduce_max(scores, axis=1)] if targets is None else [scores[:, k] for k in range(targets)]
            return [tape.gradient(each, x) for each in explained]

        compiled = tf.function(gradient, input_signature=[tf.TensorSpec(self.model.inputs[0].shape, "float32")])
        return lambda x: [each.numpy() for each in compiled(tf.constant(x))]

    def operations(self, method):
        """Operations of the traced graph, the functions that it calls included: type -> number."""
        analyzer = self.tf_lrp.Analyzer(self.model, method, trace="always")
        analyzer.analyze(pictures(1, self.model.input_shape[1], self.axis), verbose=False)
        (compiled,) = analyzer.compiled_passes.values()
        graph = compiled.get_concrete_function().graph
        functions = [f.graph for f in graph._functions.values() if hasattr(f, "graph")]
        counted = {}
        for operation in (op for each in (graph, *functions) for op in each.get_operations()):
            counted[operation.type] = counted.get(operation.type, 0) + 1
        return counted

    def many_analyzers(self, method, count):
        """MiB of main memory after each tenth of ``count`` analyzers of one small network, half of them traced."""
        layers, shape = self.keras.layers, (16, 16, 3)
        convolutions = [layers.Conv2D(8, 3), layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D()]
        model = self.keras.Sequential([self.keras.Input(shape), *convolutions, layers.Flatten(), layers.Dense(10)])
        x, sizes = pictures(2, shape[0], self.axis), []
        for number in range(1, count + 1):
            self.tf_lrp.Analyzer(model, method, trace=("never", "always")[number % 2], verbose=False).analyze(x)
            if number % (count // 10) == 0:
                sizes.append(memory_now())
        return sizes

    def session(self, x, method):
        """Seconds of the first explanation in a session, and of others of the same picture in it: dict by what changed."""
        from tf_lrp import rules, select

        layers = [layer.name for layer in self.model.layers if type(layer).__name__ in ("Conv2D", "DepthwiseConv2D", "Dense")]
        began = time.perf_counter()
        session = self.tf_lrp.Analyzer(self.model, method).session(x)
        session.analyze()
        seconds = {"first": time.perf_counter() - began}
        preset = self.tf_lrp.preset(method)
        places = {"near the input": 1 / 6, "in the middle": 1 / 2, "in the last third": 5 / 6}
        for place, where in places.items():
            chosen = select.name(layers[int(where * len(layers))])
            changed = self.tf_lrp.Preset([(chosen, rules.Gamma(0.25)), *preset.rules], "changed")
            _, seconds[place], _ = timed(session.analyze, changed)
            session.analyze(preset)
        _, seconds["another preset"], _ = timed(session.analyze, "epsilon_gamma_box" if method != "epsilon_gamma_box" else "z")
        return seconds

    def device_peak(self):
        return self.tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20 if self.gpus else None


class Zennit:
    """zennit's composites on torchvision's networks, and PyTorch's own gradient."""

    axis = 1

    def __init__(self):
        from importlib.metadata import version

        import torch
        import torchvision
        import zennit.attribution
        import zennit.canonizers
        import zennit.composites
        import zennit.torchvision

        self.torch, self.torchvision, self.zennit = torch, torchvision, zennit
        self.versions = {"PyTorch": torch.__version__, "torchvision": torchvision.__version__, "zennit": version("zennit")}
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None

    def use_threads(self, count):
        self.torch.set_num_threads(count)

    def network(self, job):
        self.torch.manual_seed(SEED)
        names = {"VGG16": "vgg16", "ResNet50": "resnet50", "MobileNetV2": "mobilenet_v2", "EfficientNetB0": "efficientnet_b0"}
        name = names[job["network"]]
        self.canonizer = self.zennit.torchvision.ResNetCanonizer if name == "resnet50" else self.zennit.torchvision.VGGCanonizer
        self.model = getattr(self.torchvision.models, name)(weights=None).eval().to(self.device)
        self.alone = job["kind"] == "memory"

    def explainer(self, method, job):
        torch = self.torch
        if method == "gradient":
            model = self.model

            def gradient(x):
                inputs = torch.from_numpy(x).to(self.device).requires_grad_()
                score = model(inputs).max(dim=1).values.sum()
                return torch.autograd.grad(score, inputs)[0].cpu().numpy()

            return gradient
        # Rules are hooked to a model for good here, as one would for many pictures, so each method needs a model of its own.
        model = self.model if self.alone else copy.deepcopy(self.model)
        bounds = {"low": -3.0, "high": 3.0} if method == "EpsilonGammaBox" else {}
        composite = getattr(self.zennit.composites, method)(canonizers=[self.canonizer()], **bounds)
        attributor = self.zennit.attribution.Gradient(model, composite)
        attributor.__enter__()

        def strongest(scores):
            return scores * torch.nn.functional.one_hot(scores.argmax(dim=1), scores.shape[1])

        def explain(x):
            inputs = torch.from_numpy(x).to(self.device).requires_grad_()
            _, relevance = attributor(inputs, strongest)
            return relevance.detach().cpu().numpy()

        return explain

    def device_peak(self):
        return self.torch.cuda.max_memory_allocated() / 2**20 if self.gpu else None


class Innvestigate:
    """iNNvestigate's analyzers, its gradient among them; it works in TensorFlow's graph mode."""

    axis = -1

    def __init__(self):
        from importlib.metadata import version

        import innvestigate
        import tensorflow as tf

        tf.compat.v1.disable_eager_execution()
        self.tf, self.innvestigate = tf, innvestigate
        self.versions = {**tensorflow_versions(tf), "iNNvestigate": version("innvestigate")}
        self.gpu = "GPU" if tf.config.list_physical_devices("GPU") else None

    def use_threads(self, count):
        self.tf.config.threading.set_intra_op_parallelism_threads(count)
        self.tf.config.threading.set_inter_op_parallelism_threads(count)

    def network(self, job):
        self.tf.compat.v1.set_random_seed(SEED)
        build, shape = getattr(self.tf.keras.applications, job["network"]), (job["size"], job["size"], 3)
        self.model = build(weights=None, input_shape=shape, classes=CLASSES, classifier_activation=None)

    def explainer(self, method, job):
        return self.innvestigate.create_analyzer(method, self.model).analyze

    def device_peak(self):
        return None


LIBRARIES = {"tf_lrp": Tensorflow, "zennit": Zennit, "innvestigate": Innvestigate}


# -- measuring ----------------------------------------------------------------------------------------------------------


def timed(function, *arguments):
    """(result, wall seconds, CPU seconds of the process with all its threads)."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return result, time.perf_counter() - wall, time.process_time() - cpu


def first_explanation(library, job):
    """Seconds until the first explanation is there, in a process that has explained another network before.

    The framework itself sets up threads and kernels once; that is not counted.
    """
    library.network({**job, "network": "MobileNetV2", "size": 96})
    library.explainer(job["methods"][0], {**job, "trace": "never"})(pictures(1, 96, library.axis))
    library.network(job)
    x = pictures(job["batch"], job["size"], library.axis)
    if job["what"] == "session":
        return library.session(x, job["methods"][0])
    if job["what"] == "many analyzers":
        return library.many_analyzers(job["methods"][0], job["count"])
    if job["what"] == "operations":
        return library.operations(job["methods"][0])
    began = time.perf_counter()
    explain = library.explainer(job["methods"][0], job)
    built = time.perf_counter()
    explain(x)
    return {"build": built - began, "first": time.perf_counter() - built, "peak": peak_memory()}


def measure(job):
    """What the job asks, as a dict for JSON."""
    library, seconds, _ = timed(LIBRARIES[job["library"]])
    result = {"versions": library.versions, "gpu": library.gpu, "import": seconds}
    if job["kind"] == "probe":
        return result
    if job["threads"]:
        library.use_threads(job["threads"])
    if (job["device"] == "gpu") != (library.gpu is not None):
        raise RuntimeError(f"asked for the {job['device']}, found the GPU {library.gpu}")
    if job["kind"] == "first":
        result["first"] = first_explanation(library, job)
        return result
    before = peak_memory()
    _, result["network"], _ = timed(library.network, job)
    x = pictures(job["batch"], job["size"], library.axis)
    explainers, methods = {}, {}
    for method in job["methods"]:
        if method == "gradient" and methods and not explainers:
            methods[method] = {"error": "left out: there is nothing to compare it with"}
            continue
        try:
            explain, built, _ = timed(library.explainer, method, job)
            found, first, _ = timed(explain, x)
        except Exception as error:  # one method that fails does not take the others along
            methods[method] = {"error": f"{type(error).__name__}: {str(error).strip()[:300]}"}
            continue
        if not all(np.isfinite(part).all() for part in (found if isinstance(found, list) else [found])):
            methods[method] = {"error": "the result is not finite"}
            continue
        methods[method] = {"build": built, "first": first, "wall": [], "cpu": []}
        explainers[method] = explain
    result["methods"] = methods
    if job["kind"] == "memory":
        for explain in explainers.values():
            explain(x)
        result["memory"] = {"before": before, "peak": peak_memory(), "device": library.device_peak()}
        return result
    for explain in explainers.values():  # warm-up, not counted
        began = time.perf_counter()
        for _ in range(3):
            explain(x)
            if time.perf_counter() - began > WARM:
                break
    began, order = time.perf_counter(), list(explainers)
    for turn in range(job["most"] if order else 0):
        if turn >= job["least"] and time.perf_counter() - began > job["seconds"]:
            break
        # Round-robin, so that what disturbs the machine for a while disturbs all; each turn another one goes first.
        for method in order[turn % len(order) :] + order[: turn % len(order)]:
            _, wall, cpu = timed(explainers[method], x)
            methods[method]["wall"].append(wall)
            methods[method]["cpu"].append(cpu)
    return result


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print("\n" + json.dumps(measure(json.loads(sys.argv[1]))))
