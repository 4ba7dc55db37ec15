"""All rules of the library with their parameters and formulas, and the templates of VisLRPDesigner."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any, NamedTuple

from tf_lrp import rules
from tf_lrp.files import preset_json
from tf_lrp.operations.kinds import KINDS
from tf_lrp.rules import Rule
from tf_lrp.studio import schemas

_LINEAR = ("weights", "average_pooling", "merge", "batch_normalization")
_N = (
    r"(@theta0@ + @theta1@\, a_i)(@gamma0@ + @gamma1@\, w_{ij} + @gamma1p@\, w_{ij}^+ + @gamma1n@\, w_{ij}^- "
    r"+ @gamma2@\, w_{ij}^2)"
)


#: What the template of the unified formula tunes.
_SLIDERS = "alpha beta theta0 theta1 gamma0 gamma1 gamma1p gamma1n gamma2 epsilon"


class _About(NamedTuple):
    """What the page says of a rule: title, formula in LaTeX, kinds of layers."""

    title: str
    formula: str
    kinds: tuple[str, ...]


def _ratio(numerator, added=""):
    return rf"R_i = \sum_j \frac{{{numerator}}}{{{added}\sum_i {numerator}}} R_j"


_ABOUT = {
    rules.Unified: _About(
        "Unified",
        rf"R_i = \sum_j \left[ @alpha@ \frac{{N_{{ij}}}}{{@epsilon@ + \sum_i N_{{ij}}}} - @beta@ "
        rf"\frac{{M_{{ij}}}}{{@epsilon@ + \sum_i M_{{ij}}}} \right] R_j, \quad N_{{ij}} = {_N}",
        _LINEAR,
    ),
    rules.ZRule: _About("LRP-0", _ratio("a_i w_{ij}"), _LINEAR),
    rules.Epsilon: _About("LRP-epsilon", _ratio("a_i w_{ij}", "@epsilon@ + "), _LINEAR),
    rules.Gamma: _About("LRP-gamma", _ratio(r"a_i (w_{ij} + @gamma@\, w_{ij}^+)"), _LINEAR),
    rules.AlphaBeta: _About(
        "LRP-alpha-beta",
        r"R_i = \sum_j \left( @alpha@ \frac{(a_i w_{ij})^+}{\sum_i (a_i w_{ij})^+} - @beta@ "
        r"\frac{(a_i w_{ij})^-}{\sum_i (a_i w_{ij})^-} \right) R_j",
        _LINEAR,
    ),
    rules.Alpha: _About(
        "LRP-alpha",
        r"R_i = \sum_j \left( @alpha@ \frac{(a_i w_{ij})^+}{\sum_i (a_i w_{ij})^+} + (1 - @alpha@) "
        r"\frac{(a_i w_{ij})^-}{\sum_i (a_i w_{ij})^-} \right) R_j",
        _LINEAR,
    ),
    rules.ZPlus: _About("LRP-z+", _ratio("(a_i w_{ij})^+"), _LINEAR),
    rules.WSquare: _About("LRP-w2", _ratio("w_{ij}^2"), _LINEAR),
    rules.Flat: _About("LRP-flat", _ratio("1"), _LINEAR),
    rules.ZBox: _About("LRP-z-box", _ratio("a_i w_{ij} - l_i w_{ij}^+ - h_i w_{ij}^-"), _LINEAR),
    rules.Sign: _About(
        "LRP-sign", r"R_i = \mathrm{sign}(a_i - @mu@) \sum_j \frac{w_{ij}}{\sum_i a_i w_{ij}} R_j", ("weights",)
    ),
    rules.Pass: _About("Pass", "R_i = R_j", ("activation", "normalization", "batch_normalization", "rescaling", "softmax")),
    rules.Stop: _About("Stop", "R_i = 0", KINDS),
    rules.WinnerTakesAll: _About(
        "Winner takes all", r"R_i = \sum_j [i = \mathrm{argmax}_k\, a_k]\, R_j", ("max_pooling", "maximum", "minimum")
    ),
    rules.SignalTakesAll: _About(
        "Signal takes all", r"R_{\mathrm{signal}} = R_j,\ R_{\mathrm{gate}} = 0", ("product", "matmul", "attention")
    ),
    rules.Uniform: _About("Uniform", r"R_a = R_b = \tfrac{1}{2} R_j", ("product", "matmul", "attention")),
    rules.Renormalization: _About("Renormalization", r"R_i = \sum_k \frac{q_{ik}}{y_k} R_k", ("normalization",)),
    rules.Taylor: _About("Taylor", r"R_i = x_i \left( R_i - s_i \sum_j R_j \right)", ("softmax",)),
}


class _Parameter(NamedTuple):
    """What the page says of a parameter."""

    symbol: str
    group: str
    slider: tuple[float, float, float] | None
    description: str


_PARAMETERS = {
    "alpha": _Parameter(r"\alpha", "contribution", (0, 4, 0.05), "weight of the positive contributions (the first fraction)"),
    "beta": _Parameter(r"\beta", "contribution", (0, 3, 0.05), "weight of the negative contributions (the second fraction)"),
    "theta0": _Parameter(r"\theta_0", "activation", (0, 1, 0.05), "what does not depend on the activation"),
    "theta1": _Parameter(r"\theta_1", "activation", (0, 1, 0.05), "effect of the activation"),
    "gamma": _Parameter(r"\gamma", "weight", (0, 4, 0.05), "how much more positive weights count"),
    "gamma0": _Parameter(r"\gamma_0", "weight", (0, 1, 0.05), "what does not depend on the weight"),
    "gamma1": _Parameter(r"\gamma_1", "weight", (0, 1, 0.05), "effect of the weight"),
    "gamma1p": _Parameter(r"\gamma_{1p}", "weight", (0, 4, 0.05), "effect of positive weights"),
    "gamma1n": _Parameter(r"\gamma_{1n}", "weight", (0, 4, 0.05), "effect of negative weights"),
    "gamma2": _Parameter(r"\gamma_2", "weight", (0, 1, 0.05), "effect of squared weights"),
    "m": _Parameter("M", "weight", None, "gamma0, gamma1, gamma1p, gamma1n, gamma2 of the second fraction; null: as the first"),
    "epsilon": _Parameter(r"\varepsilon", "suppression", (0, 1, 0.01), "added to the denominator, with its sign"),
    "stabilizer": _Parameter(r"\varepsilon", "suppression", (0, 1, 0.01), "keeps denominators away from zero"),
    "clip": _Parameter(r"\max(|z|, \varepsilon)", "suppression", None, "epsilon is the least magnitude, instead of added"),
    "norm_scale": _Parameter(r"\varepsilon \|z\|", "suppression", None, "epsilon relative to the denominators' size"),
    "low": _Parameter("l_i", "bounds", None, "smallest possible input: a number, or one for each channel; null: the sample's"),
    "high": _Parameter("h_i", "bounds", None, "largest possible input: a number, or one for each channel; null: the sample's"),
    "mu": _Parameter(r"\mu", "bounds", None, "threshold between negative and positive evidence"),
    "bias": _Parameter("b_j", "bias", None, "whether the bias is part of the denominator"),
    "bias_factor": _Parameter(r"\delta", "bias", (0, 1, 0.05), "share of bias and epsilon that the inputs get"),
    "divided": _Parameter("y_k", "other", None, "whether relevance is divided by the layer's output"),
    "ties": _Parameter(r"\mathrm{ties}", "other", None, "which of equal inputs wins: the first, or all share"),
}
#: Least and greatest values, where a rule has them: (class or None for all, parameter) -> (least, greatest).
_BOUNDS = {
    (None, "epsilon"): (0, None),
    (None, "gamma"): (0, None),
    (None, "stabilizer"): (0, None),
    (None, "bias_factor"): (0, 1),
    ("AlphaBeta", "alpha"): (1, None),
    ("AlphaBeta", "beta"): (0, None),
}
_KIND_BY_NAME = {"m": "numbers", "low": "bound", "high": "bound", "mu": "bound", "ties": "choice", "stabilizer": "stabilizer"}


def catalog() -> schemas.Rules:
    """All rules and templates."""
    described = [_described(rule, about) for rule, about in _ABOUT.items()]
    return schemas.Rules(rules=described, templates=_templates(), kinds=list(KINDS))


def rule_classes() -> set[type[Rule]]:
    """The rules of `tf_lrp.rules`."""
    named = (getattr(rules, name) for name in rules.__all__)
    return {rule for rule in named if inspect.isclass(rule) and issubclass(rule, Rule) and rule is not Rule}


def _described(rule, about):
    summary = (inspect.getdoc(rule) or "").split("\n\n")[0].replace("\n", " ")
    return schemas.RuleKind(
        name=rule.__name__,
        title=about.title,
        summary=summary,
        formula=about.formula,
        kinds=list(about.kinds),
        parameters=[_parameter(rule, f) for f in fields(rule)],
    )


def _parameter(rule, field):
    about = _PARAMETERS[field.name]
    least, greatest = _BOUNDS.get((rule.__name__, field.name)) or _BOUNDS.get((None, field.name), (None, None))
    kind: Any = _KIND_BY_NAME.get(field.name, "boolean" if isinstance(field.default, bool) else "number")
    group: Any = about.group
    return schemas.RuleParameter(
        name=field.name,
        kind=kind,
        default=field.default,
        minimum=least,
        maximum=greatest,
        slider=None if about.slider is None else _slider(about.slider, least),
        choices=["first", "share"] if kind == "choice" else None,
        symbol=about.symbol,
        group=group,
        description=about.description,
    )


def _slider(slider, least):
    start, stop, step = slider
    return [float(max(start, start if least is None else least)), float(stop), float(step)]


def _templates():
    ones = {"theta0": 1.0, "theta1": 0.0}
    negative = [0.0, 0.0, 0.0, 1.0, 0.0]
    made = (
        ("custom", r"\text{custom}", rules.Unified(gamma1=1.0), _SLIDERS, {"gamma1": 1.0}),
        ("lrp-0", r"\text{LRP-}0", rules.ZRule(), "", {"gamma1": 1.0}),
        ("epsilon", r"\text{LRP-}\varepsilon", rules.Epsilon(0.25), "epsilon", {"gamma1": 1.0, "epsilon": 0.25}),
        ("gamma", r"\text{LRP-}\gamma", rules.Gamma(0.25), "gamma", {"gamma1": 1.0, "gamma1p": 0.25}),
        (
            "alpha-beta",
            r"\text{LRP-}\alpha\beta",
            rules.AlphaBeta(2.0, 1.0),
            "alpha beta",
            {"alpha": 2.0, "beta": 1.0, "gamma1p": 1.0, "m": negative},
        ),
        ("alpha1-beta0", r"\text{LRP-}\alpha_1\beta_0", rules.AlphaBeta(1.0, 0.0), "", {"gamma1p": 1.0}),
        ("w2", r"\text{LRP-}w^2", rules.WSquare(), "", {**ones, "gamma2": 1.0}),
        ("flat", r"\text{LRP-flat}", rules.Flat(), "", {**ones, "gamma0": 1.0}),
        ("z-box", r"\text{LRP-}z^{\mathcal{B}}", rules.ZBox(), "low high", None),
    )
    return [
        schemas.RuleTemplate(
            name=name,
            title=title,
            rule=preset_json.rule_as_dict(rule),
            tunes=tunes.split(),
            unified=unified,
        )
        for name, title, rule, tunes, unified in made
    ]
