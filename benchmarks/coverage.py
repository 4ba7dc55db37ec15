"""Which networks are explained, and how soundly: every constructor of keras.applications, and small models of keras_hub.

    python benchmarks/coverage.py [--size 96] [--only PATTERN] [--fresh] [--out docs/coverage.md]

Weights are random: He-normal, with seeded biases and LayerScale factors that are not the defaults; batch
normalizations have random statistics of the size of their inputs. Each model runs in a process of its own, which
gives its memory back. The sections on single functions and layers come from ``keras_functions.py``, and stay. Results are
kept in ``out/coverage.jsonl``:
a run that was stopped goes on where it ended, ``--fresh`` begins anew.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import inspect
import json
import platform
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SEED = 7
#: A model counts as sound under a preset if it stays below these and nothing is NaN.
TWIN, UNACCOUNTED = 1e-4, 1e-3
PRESETS = {"applications": ("z", "cmp_a1_flat"), "hub": ("cp_lrp", "attnlrp")}
#: What an output is explained by, where a model has several; else the last.
OUTPUTS = ("pooled_output", "decoder_sequence_output", "vision_logits", "sequence_output", "P5")
TOKENS = 6

#: Sum of relevance / logit in iNNvestigate 2.1.2 (TensorFlow 2.12, random weights), by the preset of ours it compares with.
INNVESTIGATE = {
    "VGG16": {"z": "epsilon 1.000", "cmp_a1_flat": "alpha1-beta0 1.000, preset a-flat 0.923"},
    "ResNet50": {"z": "epsilon 1.000", "cmp_a1_flat": "alpha1-beta0 4.49, preset a-flat 8e11"},
    "DenseNet121": {"z": "epsilon 1.000", "cmp_a1_flat": "alpha1-beta0 1.000, preset a-flat 3e6"},
    "InceptionV3": {"z": "epsilon 1.000", "cmp_a1_flat": "alpha1-beta0 1.000, preset a-flat 7e9"},
    "MobileNetV2": dict.fromkeys(PRESETS["applications"], "refused; wrong when forced"),
    "EfficientNetB0": dict.fromkeys(PRESETS["applications"], "refused; wrong when forced"),
}


# -- models -----------------------------------------------------------------------------------------------------------


def applications():
    """{name: constructor} of the installed keras.applications, in alphabetical order."""
    from keras import applications as module

    modules = [module, *(m for m in vars(module).values() if inspect.ismodule(m))]
    return {
        name: function
        for name, function in sorted({n: f for m in modules for n, f in vars(m).items()}.items())
        if inspect.isfunction(function) and "classifier_activation" in inspect.signature(function).parameters
    }


def build_application(name, size=None):
    """The network for 10 classes without softmax, at ``size`` or, where that is None or too small for it, its own size."""
    build = applications()[name]
    wanted = {"weights": None, "classes": 10, "classifier_activation": None}
    try:
        return build(**wanted, input_shape=size and (size, size, 3))
    except ValueError:
        return build(**wanted)


def hub_models():
    """{name: function that builds it} of small models of keras_hub."""
    import keras_hub.models as hub

    text = {"vocabulary_size": 50, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 24}
    heads = text | {"num_heads": 2}
    grouped = text | {"num_query_heads": 4, "num_key_value_heads": 2}
    gemma = grouped | {"head_dim": 4}
    image = {"image_shape": (32, 32, 3), "num_layers": 2, "num_heads": 2, "hidden_dim": 16}
    vision = image | {"patch_size": 8, "intermediate_dim": 24}
    clip_text = heads | {"embedding_dim": 16, "max_sequence_length": TOKENS}
    smol = text | {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "rope_layer_enabled_list": [True, False],
        "layer_types": ["full_attention"] * 2,
        "mlp_bias": False,
        "layer_norm_epsilon": 1e-6,
        "max_position_embeddings": 32,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 1.0,
    }
    moe = {"num_experts": 4, "top_k": 2}

    def vit(**more):
        return hub.ViTBackbone(**image, patch_size=8, mlp_dim=24, **more)

    def mit():
        return hub.MiTBackbone(
            layerwise_depths=[1] * 4,
            num_layers=4,
            layerwise_num_heads=[1, 2, 2, 4],
            layerwise_sr_ratios=[8, 4, 2, 1],
            max_drop_path_rate=0.1,
            layerwise_patch_sizes=[7, 3, 3, 3],
            layerwise_strides=[4, 2, 2, 2],
            image_shape=(64, 64, 3),
            hidden_dims=[8, 16, 24, 32],
        )

    def resnet(block="basic_block", **more):
        return hub.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[7],
            stackwise_num_filters=[64, 64],
            stackwise_num_blocks=[2, 2],
            stackwise_num_strides=[1, 2],
            block_type=block,
            image_shape=(32, 32, 3),
            **more,
        )

    def efficientnet():
        return hub.EfficientNetBackbone(
            stackwise_kernel_sizes=[3, 3],
            stackwise_num_repeats=[1, 2],
            stackwise_input_filters=[8, 8],
            stackwise_output_filters=[8, 16],
            stackwise_expansion_ratios=[1, 4],
            stackwise_squeeze_and_excite_ratios=[0.25, 0.25],
            stackwise_strides=[1, 2],
            stackwise_block_types=["v1", "v1"],
            stackwise_force_input_filters=[0, 0],
            stackwise_nores_option=[False, False],
            width_coefficient=1.0,
            depth_coefficient=1.0,
            input_shape=(32, 32, 3),
        )

    def mobilenet():
        return hub.MobileNetBackbone(
            stackwise_expansion=[[40, 56], [64, 144, 144]],
            stackwise_num_blocks=[2, 3],
            stackwise_num_filters=[[16, 16], [24, 24, 24]],
            stackwise_kernel_size=[[3, 3], [5, 5, 5]],
            stackwise_num_strides=[[2, 1], [1, 1, 1]],
            stackwise_se_ratio=[[None, None], [0.25, 0.25, 0.25]],
            stackwise_activation=[["relu", "relu"], ["hard_swish"] * 3],
            stackwise_padding=[[1, 1], [2, 2, 2]],
            output_num_filters=48,
            input_num_filters=16,
            depthwise_filters=8,
            depthwise_stride=2,
            depthwise_residual=False,
            squeeze_and_excite=0.5,
            last_layer_filter=48,
            image_shape=(32, 32, 3),
        )

    def cspnet():
        return hub.CSPNetBackbone(
            stem_filters=8,
            stem_kernel_size=3,
            stem_strides=1,
            stackwise_depth=[1, 2],
            stackwise_strides=[2, 2],
            stackwise_num_filters=[8, 16],
            block_type="dark_block",
            stage_type="dark",
            stem_padding="same",
            image_shape=(32, 32, 3),
        )

    def densenet():
        return hub.DenseNetBackbone(stackwise_num_repeats=[2, 2], growth_rate=4, image_shape=(32, 32, 3))

    def vgg():
        return hub.VGGBackbone(stackwise_num_repeats=[1, 2], stackwise_num_filters=[8, 16], image_shape=(32, 32, 3))

    def swin():
        return hub.SwinTransformerBackbone((32, 32, 3), embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4)

    def hgnet():
        return hub.HGNetV2Backbone(
            depths=[1, 1],
            embedding_size=8,
            hidden_sizes=[16, 32],
            stem_channels=[3, 8, 8],
            hidden_act="relu",
            use_learnable_affine_block=True,
            stackwise_stage_filters=[[8, 8, 16, 1, 2, 3], [16, 8, 32, 1, 2, 3]],
            apply_downsample=[False, True],
            use_lightweight_conv_block=[False, True],
            image_shape=(32, 32, 3),
        )

    def siglip_vision():
        return hub.SigLIPVisionEncoder(**vision)

    def clip():
        return hub.CLIPBackbone(hub.CLIPVisionEncoder(**vision), hub.CLIPTextEncoder(**clip_text), 8)

    def siglip():
        return hub.SigLIPBackbone(siglip_vision(), hub.SigLIPTextEncoder(**clip_text))

    return {
        # pictures
        "ViT": vit,
        "ViT classifier": lambda: hub.ViTImageClassifier(vit(), 10),
        "DeiT classifier": lambda: hub.DeiTImageClassifier(hub.DeiTBackbone(**vision), 10),
        "DINOv2": lambda: hub.DINOV2Backbone(**vision, position_embedding_shape=(32, 32, 3)),
        "DINOv2 with SwiGLU": lambda: hub.DINOV2Backbone(
            **vision, position_embedding_shape=(32, 32, 3), num_register_tokens=2, use_swiglu_ffn=True
        ),
        "DINOv3": lambda: hub.DINOV3Backbone(**vision),
        "CLIP vision": lambda: hub.CLIPVisionEncoder(**vision),
        "CLIP": clip,
        "SigLIP vision": siglip_vision,
        "SigLIP": siglip,
        "Swin": swin,
        "Swin classifier": lambda: hub.SwinTransformerImageClassifier(swin(), 10),
        "MiT": mit,
        "MiT classifier": lambda: hub.MiTImageClassifier(mit(), 10),
        "SegFormer": lambda: hub.SegFormerImageSegmenter(hub.SegFormerBackbone(mit(), 16), 4),
        "ViTDet": lambda: hub.ViTDetBackbone(16, 2, 24, 2, [1], image_shape=(32, 32, 3), patch_size=8, window_size=2),
        "ResNet classifier": lambda: hub.ResNetImageClassifier(resnet(), 10),
        "ResNet v2": lambda: resnet("bottleneck_block", use_pre_activation=True),
        "ResNet vd": lambda: resnet("bottleneck_block_vd"),
        "DenseNet classifier": lambda: hub.DenseNetImageClassifier(densenet(), 10),
        "VGG classifier": lambda: hub.VGGImageClassifier(vgg(), 10, pooling_hidden_dim=24),
        "EfficientNet classifier": lambda: hub.EfficientNetImageClassifier(efficientnet(), 10),
        "MobileNet classifier": lambda: hub.MobileNetImageClassifier(mobilenet(), 10, num_features=32),
        "CSPNet classifier": lambda: hub.CSPNetImageClassifier(cspnet(), 10),
        "Xception": lambda: hub.XceptionBackbone([[8, 8], [16, 16]], [True, False], image_shape=(75, 75, 3)),
        "HGNetV2": hgnet,
        # text
        "BERT": lambda: hub.BertBackbone(**heads),
        "BERT classifier": lambda: hub.BertTextClassifier(hub.BertBackbone(**heads), 4),
        "BERT masked LM": lambda: hub.BertMaskedLM(hub.BertBackbone(**heads)),
        "RoBERTa": lambda: hub.RobertaBackbone(**heads),
        "RoBERTa classifier": lambda: hub.RobertaTextClassifier(hub.RobertaBackbone(**heads), 4, hidden_dim=16),
        "XLM-RoBERTa": lambda: hub.XLMRobertaBackbone(**heads),
        "DistilBERT": lambda: hub.DistilBertBackbone(**heads),
        "DistilBERT classifier": lambda: hub.DistilBertTextClassifier(hub.DistilBertBackbone(**heads), 4, hidden_dim=16),
        "ALBERT": lambda: hub.AlbertBackbone(**heads, embedding_dim=8),
        "DeBERTa-v3": lambda: hub.DebertaV3Backbone(**heads, bucket_size=4),
        "ELECTRA": lambda: hub.ElectraBackbone(50, 2, 2, 16, 8, 24),
        "RoFormer-v2": lambda: hub.RoformerV2Backbone(**heads, head_size=8),
        "ESM": lambda: hub.ESMBackbone(**heads),
        "FNet": lambda: hub.FNetBackbone(**text),
        "XLNet": lambda: hub.XLNetBackbone(**heads),
        "GPT-2": lambda: hub.GPT2Backbone(**heads),
        "GPT-2 causal LM": lambda: hub.GPT2CausalLM(hub.GPT2Backbone(**heads)),
        "GPT-NeoX": lambda: hub.GPTNeoXBackbone(**heads),
        "OPT": lambda: hub.OPTBackbone(**heads),
        "BLOOM": lambda: hub.BloomBackbone(**heads),
        "Falcon": lambda: hub.FalconBackbone(**text, num_attention_heads=2),
        "Gemma": lambda: hub.GemmaBackbone(**gemma),
        "Gemma causal LM": lambda: hub.GemmaCausalLM(hub.GemmaBackbone(**gemma)),
        "Gemma 2": lambda: hub.GemmaBackbone(
            **gemma,
            use_post_ffw_norm=True,
            use_post_attention_norm=True,
            attention_logit_soft_cap=50.0,
            final_logit_soft_cap=30.0,
            use_sliding_window_attention=True,
            sliding_window_size=4,
        ),
        "Gemma 3": lambda: hub.Gemma3Backbone(**gemma, image_size=16),
        "Llama": lambda: hub.LlamaBackbone(**grouped),
        "Llama causal LM": lambda: hub.LlamaCausalLM(hub.LlamaBackbone(**grouped)),
        "Llama 3": lambda: hub.Llama3Backbone(**grouped),
        "Mistral": lambda: hub.MistralBackbone(**grouped),
        "Mixtral": lambda: hub.MixtralBackbone(**grouped, **moe),
        "Phi-3": lambda: hub.Phi3Backbone(**grouped),
        "Qwen": lambda: hub.QwenBackbone(**grouped),
        "Qwen 2": lambda: hub.Qwen2Backbone(**grouped),
        "Qwen 3": lambda: hub.Qwen3Backbone(**gemma),
        "Qwen MoE": lambda: hub.QwenMoeBackbone(**grouped, **moe, moe_intermediate_dim=8, shared_expert_intermediate_dim=8),
        "GPT-OSS": lambda: hub.GptOssBackbone(**grouped, **moe),
        "SmolLM 3": lambda: hub.SmolLM3Backbone(**smol),
        "RWKV-7": lambda: hub.RWKV7Backbone(16, 8, 2, 50, 24, gate_lora=4, mv_lora=4, aaa_lora=4, decay_lora=4),
        "CLIP text": lambda: hub.CLIPTextEncoder(**clip_text),
        "SigLIP text": lambda: hub.SigLIPTextEncoder(**clip_text),
        # two sequences, sound
        "BART": lambda: hub.BartBackbone(**heads, max_sequence_length=16),
        "T5": lambda: hub.T5Backbone(**heads),
        "Whisper": lambda: hub.WhisperBackbone(
            **heads, num_mels=8, max_encoder_sequence_length=2 * TOKENS, max_decoder_sequence_length=TOKENS
        ),
    }


def randomize(model, seed=SEED):
    """Seeded weights of realistic size, with biases and scales that are not the defaults; returns the model."""
    rng = np.random.default_rng(seed)
    normalized = {v.path.rsplit("/", 1)[0] for v in model.variables if v.name == "moving_mean"}
    trainable = {id(v) for v in model.trainable_variables}
    for variable in model.variables:
        shape, (parent, name) = tuple(variable.shape), ("/" + variable.path).rsplit("/", 1)
        if id(variable) not in trainable:  # statistics, counters, tables of positions
            continue
        if name in ("gamma", "scale") or "lambda" in name:
            values = rng.uniform(0.5, 1.5, shape)
            if parent.lstrip("/") in normalized:
                values *= rng.choice([-1, 1], shape, p=[0.1, 0.9])
        elif len(shape) < 2:
            values = 0.1 * rng.normal(size=shape)
        elif "embedding" in variable.path and "kernel" not in name:
            values = rng.normal(size=shape)
        else:
            values = rng.normal(size=shape) * _spread(shape)
        variable.assign(values.astype("float32"))
    return model


def calibrate(model, x, seed=SEED + 2):
    """Gives batch normalizations statistics of the size of their inputs on ``x``, as training would leave them.

    Without this the activations of a deep network with random weights grow or fade, its gates saturate, and rounding is
    amplified until two ways to compute it give different answers: no twin could be told from a wrong one. Each layer is set
    when the pass reaches it, so that the next ones see what its statistics make of ``x``.
    """
    import keras

    rng = np.random.default_rng(seed)

    def setting_itself(layer):
        def call(inputs, training=None, mask=None):
            # One measure for the layer, and the mean stays: a channel's own would blow up those that nearly cancel.
            square = max(np.mean(keras.ops.convert_to_numpy(inputs).astype("float64") ** 2), 1e-3)
            shape = layer.moving_mean.shape
            layer.moving_mean.assign(0.2 * np.sqrt(square) * rng.normal(size=shape))
            layer.moving_variance.assign(square * rng.uniform(0.5, 1.5, shape))
            return type(layer).call(layer, inputs, training=False)

        return call

    layers = [v for v in model._flatten_layers() if isinstance(v, keras.layers.BatchNormalization)]
    for layer in layers:
        layer.call = setting_itself(layer)
    model(x, training=False)
    for layer in layers:
        del layer.call


def _spread(shape):
    """Standard deviation that keeps the size of the activations: He for convolutions, LeCun elsewhere."""
    if len(shape) >= 4:
        depthwise = shape[-1] == 1 < shape[-2]
        return np.sqrt(2 / np.prod(shape[:-2] if depthwise else shape[:-1]))
    # Kernels of attention join heads and width on either side: (d, heads, d/heads) or (heads, d/heads, d).
    return shape[0] ** -0.5 if len(shape) == 2 else np.prod(shape) ** -0.25


def random_inputs(model, seed=SEED + 1):
    """One sample in the structure of the model's inputs: pictures, tokens, masks of ones."""
    import keras

    rng = np.random.default_rng(seed)
    scaled = any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers)

    def values(tensor):
        pictures = len(tensor.shape) == 4
        shape = (1, *(d or (224 if pictures else TOKENS) for d in tensor.shape[1:]))
        if "mask" in tensor.name and "position" not in tensor.name:
            return np.ones(shape, "int32")
        if "int" in keras.backend.standardize_dtype(tensor.dtype):
            few = 2 if "segment" in tensor.name else TOKENS if "position" in tensor.name else 50
            return rng.integers(few == 50, few, shape).astype("int32")
        return (rng.uniform(0, 255, shape) if pictures and scaled else rng.normal(size=shape)).astype("float32")

    return keras.tree.map_structure(values, model.input)


# -- measuring --------------------------------------------------------------------------------------------------------


def explained_output(model):
    """Name or position of the output that is explained, None where there is but one."""
    structure = model.output
    if isinstance(structure, dict) and len(structure) > 1:
        return next((name for name in OUTPUTS if name in structure), list(structure)[-1])
    return len(structure) - 1 if isinstance(structure, (list, tuple)) and len(structure) > 1 else None


def deviation_of(other, model, x_other, x):
    """Largest deviation of ``other(x_other)`` from ``model(x)``, relative to the largest value of the explained output."""
    import keras

    which = explained_output(model)
    pair = [f(a, training=False) for f, a in ((other, x_other), (model, x))]
    pair = [keras.tree.flatten(y)[0] if which is None else y[which] for y in pair]
    found, expected = (keras.ops.convert_to_numpy(y).astype("float64") for y in pair)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def noise_of(model, x):
    """How much the network itself amplifies rounding: the output's deviation when the input moves by 1e-7 of itself."""
    import keras

    rng = np.random.default_rng(SEED)
    moved = keras.tree.map_structure(
        lambda a: (a * (1 + 1e-7 * rng.normal(size=a.shape))).astype("float32") if a.dtype.kind == "f" else a, x
    )
    return deviation_of(model, model, moved, x)


def measure(model, x, preset):
    """What one preset makes of one sample, as a dict of numbers, or {"error": first line}."""
    import keras

    import tf_lrp

    which = explained_output(model)
    several = {} if which is None else {"output": which}
    try:
        analyzer = tf_lrp.Analyzer(model, preset)
        seconds = []
        for _ in range(2):
            began = time.monotonic()
            relevance = analyzer.analyze(x, **several)
            seconds.append(time.monotonic() - began)
        deviation = deviation_of(analyzer.twin, model, x, x)
        maps = [np.asarray(r, "float64") for r in keras.tree.flatten(relevance)]
        balance = analyzer.conservation(x, **several)
        worst = max(balance.layers, key=lambda layer: abs(layer.rounding))
        return {
            "twins": len(analyzer.rules()),
            "twin": deviation,
            "nan": bool(any(np.isnan(r).any() for r in maps)),
            "sum": float(sum(r.sum() for r in maps) / balance.output),
            "unaccounted": abs(balance.rounding / balance.output),
            "worst": [worst.name, worst.layer_class, worst.rule, worst.rounding / balance.output],
            "first": seconds[0],
            "second": seconds[1],
        }
    except Exception as error:  # a table of what works lists what does not
        return {"error": _first_line(error)}


def _first_line(error):
    """The error's first line that says something; a heading comes with what it heads."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["nothing said"]
    if lines[0] == "in user code:":  # TensorFlow puts the traceback first
        lines = lines[-1:]
    said = " ".join(lines) if lines[0].endswith(":") else lines[0]
    return f"{type(error).__name__}: {said}"


def examine(table, name, size):
    """The result of one model: built, explained under the table's presets."""
    import keras

    keras.utils.set_random_seed(SEED)
    try:
        model = build_application(name, size) if table == "applications" else hub_models()[name]()
    except Exception as error:
        return {"error": f"not built: {_first_line(error)}"}
    x = random_inputs(randomize(model))
    calibrate(model, x)
    shapes = [a.shape[1:] for a in keras.tree.flatten(x)]
    return {
        "class": type(model).__name__,
        "input": "x".join(map(str, shapes[0])),
        "parameters": model.count_params(),
        "noise": noise_of(model, x),
        "presets": {preset: measure(model, x, preset) for preset in PRESETS[table]},
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def examine_apart(table, name, size):
    """As `examine`, in a process of its own: memory comes back, and what dies dies alone."""
    command = [sys.executable, __file__, "--worker", table, name, *(["--size", str(size)] if size else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        return {"error": f"ended with code {done.returncode}: {said}"}
    return json.loads(done.stdout.splitlines()[-1])


# -- the document -----------------------------------------------------------------------------------------------------


def verdict(result):
    """(sound, what the table says)."""
    if "error" in result:
        return False, "**not explained**: " + re.sub(r"([|<>])", r"\\\1", result["error"])[:240]
    wrong = [
        label
        for label, failed in (
            ("NaN", result["nan"]),
            ("twin", not result["twin"] <= TWIN),
            ("unaccounted", not result["unaccounted"] <= UNACCOUNTED),
        )
        if failed
    ]
    return not wrong, f"**no**: {', '.join(wrong)}" if wrong else "yes"


def rows_of(table, name, entry):
    """The table's lines for one model, one for each preset."""
    facts = [entry.get("input", ""), f"{entry['parameters']:,}"] if "parameters" in entry else ["", ""]
    facts += [f"{entry['memory']:.1f}", f"{entry['noise']:.0e}"] if "memory" in entry else ["", ""]
    lines = []
    for preset in PRESETS[table]:
        result = entry.get("presets", {}).get(preset, entry)
        numbers = [""] * 6
        if "error" not in result:
            numbers = [
                f"{result['twins']}",
                f"{result['twin']:.1e}",
                f"{result['sum']:.3g}",
                f"{result['unaccounted']:.1e}",
                f"{result['first']:.1f}",
                f"{result['second']:.2f}",
            ]
        cells = [*((name, *facts) if not lines else [""] * 5), f"`{preset}`", verdict(result)[1], *numbers]
        if table == "applications":
            cells.append(INNVESTIGATE.get(name, {}).get(preset, "-"))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def document(results, size, command):
    """The page of results: what was run, what the columns mean, a table for each library."""
    import keras
    import tensorflow as tf

    versions = [f"TensorFlow {tf.__version__}", f"Keras {keras.__version__}", f"Python {platform.python_version()}"]
    if any(table == "hub" for table, _ in results):
        import keras_hub

        versions.insert(2, f"keras_hub {keras_hub.__version__}")
    sizes = f"{size}x{size} where the network allows" if size else "the network's own size"
    lines = [
        "# Which networks are explained",
        "",
        f"Run as `{command}`, one sample a network, pictures of {sizes}, random weights and inputs of the seeds {SEED} and "
        f"{SEED + 1} (He-normal kernels; gamma in 0.5 to 1.5, one in ten of a batch normalization negative; moving "
        "variance 0.5 to 1.5, moving mean 0.2 x normal in units of the layer's root mean square; biases and shifts 0.1 x "
        "normal; LayerScale 0.5 to 1.5), float32, the strongest "
        f"output. {', '.join(versions)}; 2 shared CPU cores, no GPU.",
        "",
        f"*Sound*: the preset explains the network, the twin's output deviates by at most {TWIN:.0e} of the largest output "
        f"(*twin*), nothing is NaN, and at most {UNACCOUNTED:.0e} of the explained output is lost or gained without a "
        "cause that accounts for it (*unaccounted*, from `analyzer.conservation(x)`). *sum R / out* is the "
        "relevance at the inputs over the explained output: what is missing from 1 is what biases, stabilizers, "
        "padding and other causes kept. *twins* counts "
        "the rewritten layers, *first* and *second* are seconds of the first explanation (with tracing) and of the second, "
        "*GiB* the process's peak memory over all presets, *noise* how far the network's own output moves, relatively, when "
        "its input moves by 1e-7 of itself (0 for tokens): a twin that rounds differently cannot come closer than about that.",
    ]
    heads = {
        "applications": ("keras.applications", "network"),
        "hub": ("keras_hub, from small configurations", "model"),
    }
    for table, (title, first) in heads.items():
        found = {name: entry for (of, name), entry in results.items() if of == table}
        if not found:
            continue
        verdicts = [verdict(e.get("presets", {}).get(p, e))[0] for e in found.values() for p in PRESETS[table]]
        columns = [
            first,
            "input",
            "parameters",
            "GiB",
            "noise",
            "preset",
            "sound",
            "twins",
            "twin",
            "sum R / out",
            "unaccounted",
        ]
        columns += ["first", "second"]
        if table == "applications":
            columns.append("iNNvestigate 2.1.2, sum R / logit")
        lines += ["", f"## {title}", "", f"{len(found)} models; sound: {sum(verdicts)} of {len(verdicts)} explanations.", ""]
        lines += ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
        for name, entry in found.items():
            lines += rows_of(table, name, entry)
    return "\n".join(lines) + "\n"


# -- running ----------------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, help="edge of the pictures for keras.applications instead of each one's own")
    parser.add_argument("--only", default="", help="regular expression that a model's name must contain")
    parser.add_argument("--table", choices=PRESETS, nargs="*", default=list(PRESETS), help="which libraries")
    parser.add_argument("--jobs", type=int, default=1, help="models at once")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results of the models that are run")
    parser.add_argument("--results", type=Path, default=Path("out/coverage.jsonl"))
    parser.add_argument("--out", type=Path, help="where the page goes")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print("\n" + json.dumps(examine(*arguments.worker, arguments.size)))
        return

    names = {"applications": list(applications()), "hub": []}
    try:
        names["hub"] = list(hub_models())
    except ImportError:
        print("keras_hub is not installed: its table is left out.")
    wanted = [(t, n) for t in arguments.table for n in names[t] if re.search(arguments.only, n)]
    done = _earlier(arguments.results, arguments.size)
    if arguments.fresh:
        done = {key: entry for key, entry in done.items() if key not in wanted}
    arguments.results.parent.mkdir(parents=True, exist_ok=True)

    def run(key):
        entry = examine_apart(*key, _size_of(key[0], arguments.size))
        with arguments.results.open("a", encoding="utf-8") as file:
            record = {"table": key[0], "name": key[1], "size": _size_of(key[0], arguments.size), **entry}
            file.write(json.dumps(record) + "\n")
        print("\n".join(rows_of(*key, entry)), flush=True)
        return key, entry

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        done.update(pool.map(run, [key for key in wanted if key not in done]))
    command = " ".join(["python benchmarks/coverage.py", *sys.argv[1:]])
    page = document({key: done[key] for key in wanted}, arguments.size, command)
    if arguments.out:
        from keras_functions import kept_sections

        earlier = arguments.out.read_text(encoding="utf-8") if arguments.out.exists() else ""
        arguments.out.write_text(page + kept_sections(earlier), encoding="utf-8")
    else:
        print(page)


def _size_of(table, size):
    """Only keras.applications come in sizes."""
    return size if table == "applications" else None


def _earlier(path, size):
    """{(table, name): entry} of earlier runs at this size; the last of each counts."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    records = [json.loads(line) for line in lines]
    return {(r["table"], r["name"]): r for r in records if r["size"] == _size_of(r["table"], size)}


if __name__ == "__main__":
    main()
