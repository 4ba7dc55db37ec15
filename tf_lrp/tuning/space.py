"""The space of a search: segments of the network, candidate rules for each, and ranges of their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from tf_lrp import rules, select
from tf_lrp.graph import canonize, unroll
from tf_lrp.graph.facts import infer_facts
from tf_lrp.messages.checks import is_finite_number, is_integer
from tf_lrp.presets import Preset

#: Candidate rule -> (its parameter or None, whether the parameter is searched on a logarithmic scale, value -> rule).
_CANDIDATES = {
    "epsilon": ("epsilon", True, rules.Epsilon),
    "relative_epsilon": ("epsilon", True, lambda epsilon: rules.Epsilon(epsilon, norm_scale=True)),
    "gamma": ("gamma", True, rules.Gamma),
    "alpha_beta": ("alpha", False, lambda alpha: rules.AlphaBeta(alpha, alpha - 1.0)),
    "zplus": (None, False, rules.ZPlus),
    "z": (None, False, rules.ZRule),
    "flat": (None, False, rules.Flat),
    "wsquare": (None, False, rules.WSquare),
}
_INPUT_RULES = ("none", "flat", "wsquare", "zbox")
_SEGMENTS = ("upper", "top", "lower")

_START = {"lower_layers": 0, "top": "epsilon", "top_epsilon": 1e-6, "top_layers": 0, "fold_batchnorm": True}
_FLAT = {"input": "flat", "input_layers": 1, "upper": "alpha_beta"}
#: Named presets as parameters; `epsilon_gamma_box` except for its stabilizers of 1e-6.
_KNOWN = {
    "cmp_a2_flat": {**_START, **_FLAT, "upper_alpha": 2.0},
    "cmp_a1_flat": {**_START, **_FLAT, "upper_alpha": 1.0},
    "epsilon_gamma_box": {**_START, "input": "zbox", "upper": "gamma", "upper_gamma": 0.25},
    "epsilon": {**_START, "input": "none", "upper": "epsilon", "upper_epsilon": 1e-6},
}


def _upper():
    return {"epsilon": (1e-6, 1.0), "gamma": (0.01, 10.0), "alpha_beta": (1.0, 4.0), "zplus": ()}


def _lower():
    return {"gamma": (0.01, 10.0), "alpha_beta": (1.0, 4.0), "zplus": ()}


def _top():
    return {"epsilon": (1e-6, 1.0)}


@dataclass(frozen=True)
class Space:
    """Presets of four segments; a layer gets the rule of the first segment that it belongs to:

    1. the first ``input_layers`` convolutions, by one of the ``input`` rules ("none": this segment is empty, "zbox": it has
       one layer);
    2. the last ``top_layers`` layers with weights, with the ``top`` rule, for networks that end in convolutions;
    3. the next ``lower_layers`` convolutions from the input on, with the ``lower`` rule;
    4. all other convolutions with the ``upper`` rule, and all other layers (the dense ones) with the ``top`` rule.

    Layers are counted as `tf_lrp.select.first` and `last` do. Candidate rules are written {name: (smallest, largest)} with the
    range of their parameter, or {name: ()} for rules without one; a range of one value fixes it:

    ====================  ======================================================================
    ``epsilon``           `Epsilon(epsilon)`, epsilon on a logarithmic scale, in units of z
    ``relative_epsilon``  `Epsilon(epsilon, norm_scale=True)`, in units of each layer's root mean square of z
    ``gamma``             `Gamma(gamma)`, on a logarithmic scale
    ``alpha_beta``        `AlphaBeta(alpha, alpha - 1)`, alpha >= 1
    ``zplus z``           `ZPlus()`, `ZRule()`, no parameter
    ``flat wsquare``      `Flat()`, `WSquare()`, no parameter
    ====================  ======================================================================

    Args:
        top, upper, lower: candidate rules of these segments.
        input: names out of "none", "flat", "wsquare", "zbox".
        input_layers, lower_layers, top_layers: (smallest, largest) number of layers.
        kind: kind of the layers that are counted: "conv", or "weights" for a network without convolutions.
        fold_batchnorm: values of the analyzer's option of this name. It concerns the graph and not the rules, so a preset does
            not contain it; see `options`.
        low, high: bounds of "zbox", as for `tf_lrp.rules.ZBox`.

    Raises:
        ValueError: unknown rules, or invalid ranges.

    Example:
        >>> Space(upper={"gamma": (0.1, 1), "zplus": ()}, input=("flat",), input_layers=(1, 6))
    """

    top: Mapping[str, tuple] = field(default_factory=_top)
    upper: Mapping[str, tuple] = field(default_factory=_upper)
    lower: Mapping[str, tuple] = field(default_factory=_lower)
    input: tuple[str, ...] = _INPUT_RULES
    input_layers: tuple[int, int] = (1, 3)
    lower_layers: tuple[int, int] = (0, 6)
    top_layers: tuple[int, int] = (0, 0)
    kind: str = "conv"
    fold_batchnorm: tuple[bool, ...] = (True,)
    low: float | tuple | None = None
    high: float | tuple | None = None

    def __post_init__(self):
        for segment in _SEGMENTS:
            given = getattr(self, segment)
            object.__setattr__(self, segment, _candidates(segment, given))
        for name, least in (("input_layers", 1), ("lower_layers", 0), ("top_layers", 0)):
            object.__setattr__(self, name, _counts(name, getattr(self, name), least))
        for name, known in (("input", _INPUT_RULES), ("fold_batchnorm", (True, False))):
            given = getattr(self, name)
            chosen = (given,) if isinstance(given, (str, bool)) else tuple(given)
            if not chosen or any(value not in known for value in chosen) or len(set(chosen)) < len(chosen):
                raise ValueError(f"{name} needs different ones out of {', '.join(map(repr, known))}; got {given!r}.")
            object.__setattr__(self, name, chosen)
        if self.kind not in select.KINDS:
            raise ValueError(f"kind needs one of {', '.join(select.KINDS)}; got {self.kind!r}.")
        box = rules.ZBox(self.low, self.high)  # checks the bounds, and converts arrays to tuples
        object.__setattr__(self, "low", box.low)
        object.__setattr__(self, "high", box.high)

    @classmethod
    def for_model(cls, model, **changes):
        """The default space, with ranges that fit a model's number of layers.

        The input rule may reach a third of the convolutions; the boundary between lower and upper ones may be at any of them.
        In a network without a dense layer up to two layers at the end may be the top; in one without convolutions all segments
        consist of dense layers, and the top is the last layer.

        Args:
            model: a built Keras model.
            **changes: arguments of `Space` that replace the defaults.
        """
        nodes = infer_facts(canonize(unroll(model)))
        kind = "conv" if any("conv" in facts.kinds for facts in nodes) else "weights"
        depth = max((facts.upstream[kind] + 1 for facts in nodes if kind in facts.kinds), default=1)
        ends_dense = any("dense" in facts.kinds for facts in nodes)
        top_layers = (1, 1) if kind == "weights" else (0, 0) if ends_dense else (0, min(2, depth))
        layers = {"input_layers": (1, max(1, depth // 3)), "lower_layers": (0, depth - 1), "top_layers": top_layers}
        return cls(**{**layers, "kind": kind, **changes})

    # -- points of the space ------------------------------------------------------------------------------------------

    def suggest(self, trial):
        """The parameters of a trial, from its ``suggest_...`` methods; only those that matter given the others.

        Args:
            trial: optuna.Trial, or an object with its methods ``suggest_categorical``, ``suggest_int``, ``suggest_float``.

        Returns:
            dict for `preset`, ready for JSON.
        """
        chosen = {"input": trial.suggest_categorical("input", self.input)}
        if chosen["input"] in ("flat", "wsquare"):
            chosen["input_layers"] = trial.suggest_int("input_layers", *self.input_layers)
        chosen["lower_layers"] = trial.suggest_int("lower_layers", *self.lower_layers)
        for segment in _SEGMENTS if chosen["lower_layers"] else _SEGMENTS[:2]:
            candidates = getattr(self, segment)
            rule = chosen[segment] = trial.suggest_categorical(segment, tuple(candidates))
            parameter, log, _ = _CANDIDATES[rule]
            if parameter is not None:
                name = f"{segment}_{parameter}" if rule != "relative_epsilon" else f"{segment}_relative_epsilon"
                chosen[name] = trial.suggest_float(name, *candidates[rule], log=log)
        chosen["top_layers"] = trial.suggest_int("top_layers", *self.top_layers)
        chosen["fold_batchnorm"] = trial.suggest_categorical("fold_batchnorm", self.fold_batchnorm)
        return chosen

    def preset(self, parameters, name="tuned"):
        """The preset with these parameters. The same parameters always give the same preset.

        Args:
            parameters: dict as `suggest` returns it, or a trial.
            name: of the preset.

        Returns:
            `tf_lrp.Preset`.

        Raises:
            ValueError: parameters that are missing, unknown or outside the space.
        """
        p = self.check(parameters)
        chosen = {segment: _rule(segment, p) for segment in _SEGMENTS if segment in p}
        below = {"none": 0, "zbox": 1}.get(p["input"], p.get("input_layers"))
        entries = []
        if below:
            rule = {"flat": rules.Flat, "wsquare": rules.WSquare}.get(p["input"], lambda: rules.ZBox(self.low, self.high))()
            entries.append((select.first(below, kind=self.kind), rule))
        if p["top_layers"]:
            entries.append((select.last(p["top_layers"]), chosen["top"]))
        if p["lower_layers"]:
            entries.append((select.first(below + p["lower_layers"], kind=self.kind), chosen["lower"]))
        entries += [(select.kind(self.kind), chosen["upper"]), (select.all(), chosen["top"])]
        return Preset(tuple(entries), name)

    def options(self, parameters):
        """Options that the analyzer needs besides the preset: ``{}``, or ``{"fold_batchnorm": False}``."""
        return {} if self.check(parameters)["fold_batchnorm"] else {"fold_batchnorm": False}

    def check(self, parameters):
        """The parameters as a dict; raises ValueError unless they are a point of this space.

        Raises:
            ValueError: a parameter is missing, unknown or out of range.
        """
        if not isinstance(parameters, Mapping):
            return self.suggest(parameters)
        point = self.suggest(_Given(parameters))
        unknown = sorted(set(parameters) - set(point))
        if unknown:
            raise ValueError(f"The parameters {', '.join(unknown)} have no effect beside {point}: leave them out.")
        return point

    def known(self):
        """The named presets that lie in this space, as dict name -> parameters."""
        return {name: dict(p) for name, p in _KNOWN.items() if self.kind == "conv" and self._holds(p)}

    def _holds(self, parameters):
        try:
            self.check(parameters)
        except ValueError:
            return False
        return True

    def to_dict(self):
        """The space as a dict for JSON; ``Space(**d)`` is its inverse."""
        return asdict(self)

    def __str__(self):
        return "\n".join(f"{f.name}: {getattr(self, f.name)}" for f in fields(self))


class _Given:
    """A trial whose parameters are given."""

    def __init__(self, parameters):
        self.parameters = parameters

    def _value(self, name):
        if name not in self.parameters:
            raise ValueError(f"The parameter {name!r} is missing among {dict(self.parameters)}.")
        return self.parameters[name]

    def suggest_categorical(self, name, choices):
        value = self._value(name)
        if value not in choices:
            raise ValueError(f"{name} is one of {', '.join(map(repr, choices))} in this space; got {value!r}.")
        return value

    def suggest_float(self, name, low, high, *, log=False):
        value = self._value(name)
        if not is_finite_number(value) or not low <= value <= high:
            raise ValueError(f"{name} is a number from {low} to {high} in this space; got {value!r}.")
        return value

    def suggest_int(self, name, low, high):
        value = self.suggest_float(name, low, high)
        if value != int(value):
            raise ValueError(f"{name} is an integer; got {value!r}.")
        return int(value)


def _rule(segment, parameters):
    name = parameters[segment]
    parameter, _, make = _CANDIDATES[name]
    if parameter is None:
        return make()
    return make(parameters[f"{segment}_{name if name == 'relative_epsilon' else parameter}"])


def _candidates(segment, given):
    unknown = [name for name in given if name not in _CANDIDATES]
    if unknown or not given or not isinstance(given, Mapping):
        raise ValueError(
            f"The segment {segment} needs candidates {{rule: (smallest, largest)}} with rules out of "
            f"{', '.join(_CANDIDATES)}; got {given!r}."
        )
    checked = {}
    for name, bounds in given.items():
        parameter, log, _ = _CANDIDATES[name]
        bounds = tuple(bounds or ())
        if parameter is None:
            if bounds:
                raise ValueError(f"{name} has no parameter: write {{{name!r}: ()}}; got {bounds} for the segment {segment}.")
            checked[name] = ()
            continue
        least = 1.0 if parameter == "alpha" else 0.0
        if (
            len(bounds) != 2
            or not all(map(is_finite_number, bounds))
            or not least <= bounds[0] <= bounds[1]
            or (log and not bounds[0])
        ):
            beginning = ">= 1" if parameter == "alpha" else "> 0"
            raise ValueError(
                f"{name} needs a range (smallest, largest) of its {parameter}, {beginning}, for the segment {segment}; "
                f"got {bounds}."
            )
        checked[name] = tuple(map(float, bounds))
    return checked


def _counts(name, given, least):
    bounds = (given, given) if isinstance(given, int) else tuple(given)
    if len(bounds) != 2 or not all(map(is_integer, bounds)) or not least <= bounds[0] <= bounds[1]:
        raise ValueError(f"{name} needs (smallest, largest) number of layers, from {least} on; got {given!r}.")
    return bounds
