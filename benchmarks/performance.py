"""What an explanation costs: time and memory of tf_lrp's presets, against the plain gradient and against other libraries.

    python benchmarks/performance.py [--quick] [--zennit-python PATH] [--innvestigate-python PATH] [--out docs/performance.md]

zennit and iNNvestigate need other packages than tf_lrp, so each is measured in a virtual environment of its own, whose
interpreter is given; a library without one is "not measured". To make them:

    python3 -m venv zennit-venv && zennit-venv/bin/pip install torch torchvision zennit
    python3.11 -m venv innvestigate-venv && innvestigate-venv/bin/pip install innvestigate  # Python 3.11 at most

Every measurement runs in a process of its own (`performance_worker.py`), one after the other. Results are kept in
``out/performance.jsonl``: a run that was stopped goes on where it ended, ``--fresh`` begins anew. The page and its figure
(``images/performance.png`` beside it) are written from all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

WORKER = Path(__file__).with_name("performance_worker.py")
TITLES = {"tf_lrp": "tf_lrp", "zennit": "zennit", "innvestigate": "iNNvestigate"}
#: Methods in the order of their columns. "gradient" is each library's own plain input gradient of the strongest score.
METHODS = {
    "tf_lrp": ("gradient", "epsilon", "cmp_a1", "cmp_a1_flat", "cmp_a2_flat", "gamma", "epsilon_gamma_box"),
    "zennit": ("gradient", "EpsilonPlus", "EpsilonAlpha2Beta1Flat", "EpsilonGammaBox"),
    # The gradient last: it takes minutes to build for networks that the others refuse at once, and is left out there.
    "innvestigate": (
        "lrp.epsilon",
        "lrp.sequential_preset_a",
        "lrp.sequential_preset_a_flat",
        "lrp.sequential_preset_b_flat",
        "gradient",
    ),
}
#: Of ours, what applies the same rules.
COUNTERPARTS = {
    "EpsilonPlus": "cmp_a1",
    "EpsilonAlpha2Beta1Flat": "cmp_a2_flat",
    "EpsilonGammaBox": "epsilon_gamma_box",
    "lrp.epsilon": "epsilon",
    "lrp.sequential_preset_a": "cmp_a1",
    "lrp.sequential_preset_a_flat": "cmp_a1_flat",
    "lrp.sequential_preset_b_flat": "cmp_a2_flat",
}
GROWING = "cmp_a2_flat"
#: Heading of the last section of the page, whose table comes from `sequences.py`, and which stays.
SEQUENCES = "## Transformers and recurrent networks"
SERIES = {"batch": (1, 2, 4, 8, 16, 32), "size": (112, 224, 448), "targets": (1, 2, 5, 10)}
METHOD = """\
## What was measured

- Networks of `keras.applications`, and those of the same name in torchvision: 1000 classes, no softmax, random weights,
  inference, float32; standard normal pictures of {size}x{size}. The two differ in details (padding, placement of
  strides), but have the same layers and sizes.
- Each row of a table is one process that ran nothing else. In it, after warm-up, all methods alternate with the gradient: at
  least {least} turns, more (at most {most}) as long as they fit into {seconds} seconds. A *ratio* is a method's time over the
  gradient's in the same turn: the median, and in brackets the smallest and the largest. *CPU* is the median of the same ratio
  of processor time, summed over threads.
- Times are from NumPy to NumPy: `analyzer.analyze(x)` with its checks of the input, `attributor(x, ...)` and conversion, and
  the same for the gradient.
- The *gradient* is that of each picture's strongest score with respect to the pixels. tf_lrp: a `tf.function` of a
  `GradientTape` on the same Keras model. zennit: `torch.autograd.grad` on the same module, uncompiled, like zennit's own
  passes. iNNvestigate: its `gradient` analyzer, in TensorFlow's graph mode. The ratios of different libraries are therefore
  relative to different gradients; the seconds of each gradient are given.
- zennit: each composite is registered once (`zennit.attribution.Gradient` as a context, on a copy of the network) with
  `ResNetCanonizer` for ResNet50 and `VGGCanonizer`, which merges batch normalization, for the others; z-box bounds -3 and 3.
  In zennit, the sums in MobileNetV2 pass all relevance to both branches; tf_lrp distributes it by LRP-z. iNNvestigate:
  `create_analyzer(name, model)` and `analyze(x)`.
- TensorFlow uses kernels of *oneDNN* on CPUs with AVX-512, unless TF_ENABLE_ONEDNN_OPTS=0, and its own kernels otherwise. The
  titles of the tables say which. PyTorch always uses oneDNN.
- These have the same rules, except for constants such as epsilon and z-box bounds: {pairs}.
- *Memory* is the peak of main memory (VmHWM) of a process that built the network and explained twice with that method, minus
  the peak before the network was built. It includes the weights, and what building, tracing and a pass need. *Whole* is the
  ratio of the peaks without this subtraction. On a GPU, the peak of the library's own allocator is also given.
"""
AXES = {"batch": "pictures in a batch", "size": "edge of the picture", "targets": "explained neurons of one picture"}


# -- what is measured -------------------------------------------------------------------------------------------------


def jobs(arguments, devices):
    """The measurements as dicts: what a worker is told, and what a result is found by again.

    Args:
        arguments: of the command line.
        devices: library -> its devices, "cpu" and perhaps "gpu", for the libraries that are measured.
    """
    pace = {"least": arguments.least, "most": arguments.most, "seconds": arguments.seconds}
    pace["threads"] = arguments.threads
    wanted = []

    def add(library, device, kind, network, methods, batch, size=arguments.size, top=True, targets=None):
        place = {"library": library, "device": device, "kind": kind, "network": network, "methods": list(methods)}
        wanted.append({**place, "batch": batch, "size": size, "top": top, "targets": targets, **pace})

    every = [(library, device) for library, found in devices.items() for device in found]
    for network in arguments.networks:
        for batch in arguments.batches:
            for library, device in every:
                add(library, device, "time", network, METHODS[library], batch)
    for network in arguments.networks:
        for library, device in every:
            for method in METHODS[library]:
                add(library, device, "memory", network, [method], arguments.memory_batch)
    grown = ("gradient", GROWING)
    for network in arguments.growth_networks:
        for device in devices.get("tf_lrp", ()):
            for batch in arguments.series["batch"]:
                add("tf_lrp", device, "growth", network, grown, batch)
            for size in arguments.series["size"]:
                add("tf_lrp", device, "growth", network, grown, 1, size, top=False)
            for targets in arguments.series["targets"]:
                add("tf_lrp", device, "growth", network, grown, 1, targets=targets)
    return wanted


def key_of(job):
    return json.dumps(job, sort_keys=True)


def ask(interpreter, job, timeout):
    """What a worker measured, or {"error": ...}."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if job["device"] == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    command = [interpreter, str(WORKER), json.dumps(job)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {timeout} s"}
    except OSError as error:
        return {"error": str(error)}
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        return {"error": f"ended with code {done.returncode}: {said}"}
    return json.loads(done.stdout.splitlines()[-1])


def alone(job, wanted, done):
    """Whether all the methods that a gradient is measured for were tried before it, and failed."""
    others = [j for j in wanted if {**j, "methods": ["gradient"]} == job and j != job]
    entries = [done.get(key_of(other), {}) for other in others]
    tried = [method for entry in entries for method in entry.get("methods", {}).values()]
    return bool(others) and len(tried) == len(others) and all("error" in method for method in tried)


def machine():
    """The machine in words: processor, cores, memory."""
    found = {}
    for path, name, pattern in (
        ("/proc/cpuinfo", "processor", r"model name\s*:\s*(.+)"),
        ("/proc/meminfo", "memory", r"MemTotal:\s+(\d+)"),
    ):
        text = Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""
        found[name] = match.group(1).strip() if (match := re.search(pattern, text)) else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [found["processor"] or platform.machine(), f"{cores} cores"]
    if found["memory"]:
        parts.append(f"{int(found['memory']) / 2**20:.0f} GiB of memory")
    return ", ".join(parts)


# -- numbers ----------------------------------------------------------------------------------------------------------


def ratios(methods, name, clock="wall"):
    """(median, smallest, largest) of a method's time over the gradient's of the same turn, or None."""
    base, own = (methods.get(n, {}).get(clock) for n in ("gradient", name))
    if not base or not own:
        return None
    each = [a / b for a, b in zip(own, base, strict=True)]
    return statistics.median(each), min(each), max(each)


def said(entry, name):
    """Why there is no number, for a cell of a table."""
    error = entry.get("error") or entry.get("methods", {}).get(name, {}).get("error")
    return "-" if error is None else re.sub(r"([|<>*])", r"\\\1", error).rstrip(" :")[:120]


def seconds(value):
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return ["", *lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


# -- the page ---------------------------------------------------------------------------------------------------------


class Page:
    """The page of results.

    Args:
        results: `key_of` a job -> what its worker measured.
        wanted: list of the jobs of this run.
        probes: library -> what its probe found, {} where no interpreter was given.
        arguments: of the command line.
        command: the command line as it is shown.
    """

    def __init__(self, results, wanted, probes, arguments, command):
        self.probes, self.arguments, self.command = probes, arguments, command
        self.found = [(job, results[key_of(job)]) for job in wanted if key_of(job) in results]
        self.devices = list(dict.fromkeys(job["device"] for job, _ in self.found))

    def of(self, kind, **place):
        """(job, entry) of the jobs of a kind at a place."""
        return [(j, e) for j, e in self.found if j["kind"] == kind and all(j[k] == v for k, v in place.items())]

    def text(self, figure):
        arguments = self.arguments
        lines = ["# What an explanation costs", "", f"Written by `{self.command}`.", "", f"![ratios and growth]({figure})", ""]
        lines += [f"- Machine: {machine()}, {platform.system()}{', ' + arguments.note if arguments.note else ''}."]
        for library, probe in self.probes.items():
            versions = ", ".join(f"{name} {version}" for name, version in probe.get("versions", {}).items())
            lines.append(f"- {TITLES[library]}: {versions or 'not measured'}.")
        gpus = {probe["gpu"] for probe in self.probes.values() if probe.get("gpu")}
        threads = self.arguments.threads
        lines.append(f"- Threads: {threads if threads else 'as many as each library takes by itself'}.")
        lines += [f"- GPU: {', '.join(sorted(gpus))}." if gpus else "- No GPU was measured.", "", *self._method()]
        for device in self.devices:
            on = f" on the {device.upper()}"
            lines += ["", f"## Time{on}", "", *self._times(device)]
            lines += [f"## Until the first explanation{on}", "", *self._starts(device)]
            for title, section in (("Memory", self._memory(device)), ("Growth", self._growth(device))):
                lines += ["", f"## {title}{on}", "", *(section if len(section) > 1 else ["Not measured."])]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"

    def _title(self, library):
        """The name of a library, and whether its TensorFlow computed with oneDNN."""
        onednn = self.probes[library].get("versions", {}).get("oneDNN")
        return TITLES[library] + (f" (oneDNN {onednn})" if onednn else "")

    def _method(self):
        pairs = "; ".join(f"`{theirs}` and `{ours}`" for theirs, ours in COUNTERPARTS.items())
        a = self.arguments
        return [METHOD.format(size=a.size, least=a.least, most=a.most, seconds=f"{a.seconds:g}", pairs=pairs)]

    def _times(self, device):
        lines = []
        for library, probe in self.probes.items():
            lines += [f"### {self._title(library)}", ""]
            if not self.of("time", library=library, device=device):
                lines += [self._missing(library, probe, device), ""]
                continue
            own = [m for m in METHODS[library] if m != "gradient"]
            rows = []
            for job, entry in self.of("time", library=library, device=device):
                methods = entry.get("methods", {})
                base = methods.get("gradient", {}).get("wall")
                cells = [
                    job["network"],
                    str(job["batch"]),
                    seconds(statistics.median(base)) if base else said(entry, "gradient"),
                ]
                for method in own:
                    wall, cpu = ratios(methods, method), ratios(methods, method, "cpu")
                    cells.append(
                        f"{wall[0]:.1f} ({wall[1]:.1f}..{wall[2]:.1f}), CPU {cpu[0]:.1f}" if wall else said(entry, method)
                    )
                rows.append(cells)
            lines += table(["network", "batch", "gradient, seconds", *(f"`{m}`" for m in own)], rows)
        lines += self._pairs(device)
        return lines

    def _missing(self, library, probe, device):
        if probe.get("error"):
            return f"Not measured: {probe['error']}"
        if probe and device == "gpu":
            return "Not measured: this installation sees no GPU."
        return f"Not measured: no interpreter was given (`--{library}-python PATH`)."

    def _pairs(self, device):
        """Seconds of the methods with the same rules, side by side."""
        rows = []
        for job, entry in self.of("time", device=device):
            ours = self.of("time", library="tf_lrp", device=device, network=job["network"], batch=job["batch"])
            for theirs, counterpart in COUNTERPARTS.items():
                mine = ours[0][1].get("methods", {}).get(counterpart, {}) if ours else {}
                other = entry.get("methods", {}).get(theirs, {})
                if theirs not in job["methods"] or not mine.get("wall") or not other.get("wall"):
                    continue
                wall, cpu = ([statistics.median(times[clock]) for times in (other, mine)] for clock in ("wall", "cpu"))
                place = [job["network"], str(job["batch"]), f"{TITLES[job['library']]} `{theirs}`", f"`{counterpart}`"]
                rows.append([*place, *(f"{seconds(a)} / {seconds(b)} = {a / b:.1f}" for a, b in (wall, cpu))])
        if not rows:
            return []
        head = ["network", "batch", "theirs", "ours", "seconds, theirs / ours", "CPU seconds, theirs / ours"]
        told = "Medians for one batch, from the processes above. CPU seconds are summed over threads: where these exceed the "
        told += "seconds, a library computed on several cores at once."
        return ["### The same rules side by side", "", told, *table(head, rows)]

    def _starts(self, device):
        lines = [
            "Seconds: importing the library, building the network, and for each method building it + its first explanation of "
            f"a batch of {self.arguments.batches[0]}, tracing included. The methods came in this order in one process, so the "
            "first also pays for what its framework sets up once.",
        ]
        for library in self.probes:
            found = self.of("time", library=library, device=device, batch=self.arguments.batches[0])
            rows = []
            for job, entry in found:
                cells = [job["network"], *(f"{entry[k]:.1f}" if k in entry else "" for k in ("import", "network"))]
                for method in job["methods"]:
                    times = entry.get("methods", {}).get(method, {})
                    cells.append(f"{times['build']:.1f} + {times['first']:.1f}" if "first" in times else said(entry, method))
                rows.append(cells)
            if rows:
                lines += ["", f"{self._title(library)}:"]
                lines += table(["network", "import", "building it", *(f"`{m}`" for m in METHODS[library])], rows)
        return lines

    def _memory(self, device):
        lines = [
            f"MiB at a batch of {self.arguments.memory_batch}, and in brackets over the gradient's, and so the whole process's."
        ]
        for library in self.probes:
            order = ["gradient", *(m for m in METHODS[library] if m != "gradient")]
            rows = []
            for network in self.arguments.networks:
                used, cells = {}, [network]
                for job, entry in self.of("memory", library=library, device=device, network=network):
                    used[job["methods"][0]] = entry
                for method in order:
                    cells.append(self._megabytes(used, method))
                if used:
                    rows.append(cells)
            if rows:
                lines += ["", f"{self._title(library)}:", *table(["network", *(f"`{m}`" for m in order)], rows)]
        return lines

    def _megabytes(self, used, method):
        def peaks(name):
            """(without what the process held before, whole)"""
            entry = used.get(name, {})
            # A method that failed leaves the memory of its failure.
            if "memory" not in entry or "error" in entry["methods"][name]:
                return None
            return entry["memory"]["peak"] - entry["memory"]["before"], entry["memory"]["peak"]

        value, base = peaks(method), peaks("gradient")
        if value is None:
            return said(used.get(method, {}), method)
        cell = f"{value[0]:.0f}"
        if base is not None and method != "gradient":
            cell += " ({:.2f}, whole {:.2f})".format(*(own / gradient for own, gradient in zip(value, base, strict=True)))
        device = used[method]["memory"]["device"]
        return cell if device is None else f"{cell}, GPU {device:.0f}"

    def _growth(self, device):
        lines = [
            f"Seconds of `{GROWING}`, of the gradient and their ratio, in {self._title('tf_lrp')}, one picture where nothing "
            "else is said. The sizes are those of networks without their top, with global average pooling and one dense layer "
            "instead. For several neurons the gradient is that of each one's score, from one forward pass, as in `analyze`.",
        ]
        for axis, values in self.arguments.series.items():
            rows = []
            for network in self.arguments.growth_networks:
                points = dict(self.points(axis, network, device))
                if not points:
                    continue
                for name in (GROWING, "gradient"):
                    walls = {v: e.get("methods", {}).get(name, {}).get("wall") for v, e in points.items()}
                    cells = [
                        seconds(statistics.median(w)) if (w := walls.get(v)) else said(points.get(v, {}), name) for v in values
                    ]
                    rows.append([network, f"`{name}`", *cells])
                each = [ratios(points.get(v, {}).get("methods", {}), GROWING) for v in values]
                rows.append([network, "ratio", *(f"{r[0]:.1f}" if r else "" for r in each)])
            if rows:
                lines += table(["network", AXES[axis], *map(str, values)], rows)
        return lines

    def points(self, axis, network, device):
        """(value, entry) of a series."""
        fixed = {"batch": {"top": True, "targets": None}, "size": {"top": False}, "targets": {"top": True, "batch": 1}}[axis]
        found = self.of("growth", network=network, device=device, **fixed)
        return [(job[axis], entry) for job, entry in found if job[axis] is not None]

    # -- the figure ---------------------------------------------------------------------------------------------------

    def draw(self, path):
        """Bars of the ratios, one panel a network, and below the series of growth; as PNG."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch
        from matplotlib.ticker import LogLocator

        networks, series = self.arguments.networks, self.arguments.series
        batch = self.arguments.batches[min(1, len(self.arguments.batches) - 1)]
        device = self.devices[-1]  # the GPU where there is one
        grown = any(self.points(axis, network, device) for axis in series for network in self.arguments.growth_networks)
        figure = Figure(figsize=(13, 8.4 if grown else 5), layout="constrained")
        FigureCanvasAgg(figure)
        above, below = figure.subfigures(2, 1, height_ratios=(1.25, 1)) if grown else (figure, None)
        drawn, colours = set(), {"tf_lrp": "#2a6fbb", "zennit": "#d9822b", "innvestigate": "#6b9e3f"}
        for axes, network in zip(above.subplots(1, len(networks), sharey=True, squeeze=False)[0], networks, strict=True):
            bars = []
            for library in self.probes:
                for job, entry in self.of("time", library=library, device=device, network=network, batch=batch):
                    found = {m: ratios(entry.get("methods", {}), m) for m in job["methods"] if m != "gradient"}
                    bars += [(library, method, ratio) for method, ratio in found.items() if ratio]
            drawn.update(library for library, *_ in bars)
            for place, (library, _, (middle, low, high)) in enumerate(bars):
                axes.bar(
                    place, middle, color=colours[library], yerr=[[middle - low], [high - middle]], ecolor="#444", capsize=2
                )
            names = [method.replace("lrp.", "") for _, method, _ in bars]
            axes.set_xticks(range(len(bars)), names, rotation=55, ha="right", rotation_mode="anchor", fontsize=8)
            axes.axhline(1, color="#444", linewidth=0.8, linestyle=":")
            axes.set_title(f"{network}, batch {batch}, {device.upper()}", fontsize=10)
            axes.spines[["top", "right"]].set_visible(False)
        above.axes[0].set_ylabel("time over that of the library's own gradient")
        handles = [Patch(color=colours[library], label=TITLES[library]) for library in self.probes if library in drawn]
        above.axes[0].legend(handles=handles, frameon=False, fontsize=9)
        for axes, (axis, values) in zip(below.subplots(1, len(series)), series.items(), strict=True) if grown else ():
            for number, network in enumerate(self.arguments.growth_networks):
                points = self.points(axis, network, device)
                for name, style in ((GROWING, "-"), ("gradient", "--")):
                    walls = [(v, e.get("methods", {}).get(name, {}).get("wall")) for v, e in points]
                    line = [(v, statistics.median(wall)) for v, wall in walls if wall]
                    label = f"{network}, {name}"
                    if not line:
                        continue
                    axes.plot(*zip(*line, strict=True), style, marker="o", markersize=3, color=f"C{number}", label=label)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(values, map(str, values))
            axes.minorticks_off()
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.set_xlabel(AXES[axis])
            axes.spines[["top", "right"]].set_visible(False)
        if grown:
            below.axes[0].set_ylabel("seconds")
            below.axes[0].legend(frameon=False, fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


# -- running ----------------------------------------------------------------------------------------------------------


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small network, small pictures, few turns: to try the script")
    parser.add_argument("--networks", nargs="+", default=["VGG16", "ResNet50", "MobileNetV2"])
    parser.add_argument("--growth-networks", nargs="*", default=["ResNet50", "MobileNetV2"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--memory-batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224, help="edge of the pictures")
    parser.add_argument("--least", type=int, default=5, help="turns at least")
    parser.add_argument("--draw", action="store_true", help="measure nothing: the page of what has been measured so far")
    parser.add_argument("--most", type=int, default=20, help="turns at most")
    parser.add_argument("--seconds", type=float, default=20, help="for more turns than the least")
    parser.add_argument("--threads", type=int, default=0, help="of each library; 0: as many as it takes by itself")
    parser.add_argument("--timeout", type=float, default=7200, help="seconds after which a worker is given up")
    parser.add_argument("--zennit-python", help="interpreter with zennit, torch and torchvision")
    parser.add_argument("--innvestigate-python", help="interpreter with innvestigate")
    parser.add_argument("--note", default="", help="what else is to be said of the machine")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results of what is measured")
    parser.add_argument("--results", type=Path, default=Path("out/performance.jsonl"))
    parser.add_argument("--out", type=Path, help="where the page goes; the figure goes into images/ beside it")
    arguments = parser.parse_args()
    arguments.series = SERIES
    if arguments.quick:
        arguments.networks = arguments.growth_networks = ["MobileNetV2"]
        arguments.batches, arguments.memory_batch, arguments.size = [1, 2], 2, 96
        arguments.least, arguments.most, arguments.seconds = 2, 3, 1.0
        arguments.series = {"batch": (1, 2), "size": (64, 96), "targets": (1, 2)}
    return arguments


def main():
    arguments = parsed()
    interpreters = {"tf_lrp": sys.executable, "zennit": arguments.zennit_python, "innvestigate": arguments.innvestigate_python}
    probes, devices = {}, {}
    for library, interpreter in interpreters.items():
        if interpreter is None:
            print(f"{TITLES[library]} is not measured: give the interpreter that has it, --{library}-python PATH.")
            probes[library] = {}
            continue
        probes[library] = ask(interpreter, {"library": library, "kind": "probe", "device": "any"}, arguments.timeout)
        if "error" in probes[library]:
            print(f"{TITLES[library]} is not measured: {probes[library]['error']}")
            continue
        devices[library] = ["cpu", "gpu"] if probes[library]["gpu"] else ["cpu"]

    wanted = jobs(arguments, devices)
    keys = [key_of(job) for job in wanted]
    lines = arguments.results.read_text(encoding="utf-8").splitlines() if arguments.results.exists() else []
    done = {record["key"]: record["entry"] for record in map(json.loads, lines)}
    if arguments.fresh:
        done = {key: entry for key, entry in done.items() if key not in keys}
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    for number, (job, key) in enumerate(zip(wanted, keys, strict=True), 1):
        if key in done or arguments.draw:
            continue
        began = time.monotonic()
        if job["kind"] == "memory" and job["methods"] == ["gradient"] and alone(job, wanted, done):
            continue
        done[key] = ask(interpreters[job["library"]], job, arguments.timeout)
        with arguments.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "entry": done[key]}) + "\n")
        place = f"{job['library']} {job['device']} {job['kind']} {job['network']} {job['size']} x {job['batch']}"
        what = f"{place}, {job['targets']} neurons" if job["targets"] else place
        error = f": {done[key]['error']}" if "error" in done[key] else ""
        print(f"{number}/{len(wanted)} {what}, {time.monotonic() - began:.0f} s{error}", flush=True)

    # Where things lie on this machine says nothing, nor that the page was drawn after measuring.
    shown = ["PATH" if Path(word).is_absolute() else shlex.quote(word) for word in sys.argv[1:] if word != "--draw"]
    page = Page(done, wanted, probes, arguments, " ".join(["python benchmarks/performance.py", *shown]))
    where = (arguments.out or Path("out/performance.md")).parent / "images" / "performance.png"
    page.draw(where)
    text = page.text("images/performance.png")
    if arguments.out:
        before = arguments.out.read_text(encoding="utf-8") if arguments.out.exists() else ""
        _, found, rest = before.partition(SEQUENCES)
        arguments.out.write_text(f"{text.rstrip()}\n\n{found}{rest}" if found else text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
