"""The catalog of rules holds all of them, and says of each parameter what the rule itself takes."""

import dataclasses
import re

import pytest

from tf_lrp import rules
from tf_lrp.files import preset_json
from tf_lrp.studio import rule_catalog

CATALOG = rule_catalog.catalog()


def test_every_rule_and_every_parameter_is_there():
    assert {kind.name for kind in CATALOG.rules} == {rule.__name__ for rule in rule_catalog.rule_classes()}
    for kind in CATALOG.rules:
        fields = dataclasses.fields(getattr(rules, kind.name))
        assert [(p.name, p.default) for p in kind.parameters] == [(f.name, f.default) for f in fields]


@pytest.mark.parametrize("kind", CATALOG.rules, ids=lambda kind: kind.name)
def test_placeholders_of_a_formula_are_parameters_and_its_braces_are_closed(kind):
    assert set(re.findall(r"@(\w+)@", kind.formula)) <= {p.name for p in kind.parameters}
    assert kind.formula.count("{") == kind.formula.count("}")
    assert kind.formula.count(r"\left") == kind.formula.count(r"\right")
    assert kind.summary and set(kind.kinds) <= set(CATALOG.kinds)


@pytest.mark.parametrize("kind", CATALOG.rules, ids=lambda kind: kind.name)
def test_values_of_sliders_are_taken_and_those_beyond_a_bound_are_not(kind):
    rule = getattr(rules, kind.name)
    valid = {"gamma1": 1.0} if rule is rules.Unified else {}
    for parameter in kind.parameters:

        def made(value, name=parameter.name):
            pair = {name: value}
            if rule is rules.AlphaBeta and name in ("alpha", "beta"):
                pair = {"alpha": value, "beta": value - 1} if name == "alpha" else {"alpha": value + 1, "beta": value}
            return rule(**{**valid, **pair})

        if parameter.slider:
            start, stop, step = parameter.slider
            assert start < stop and 0 < step < stop - start
            for value in (start, stop):
                if not (rule is rules.Unified and parameter.name in ("theta1", "gamma1")):  # all contributions would vanish
                    made(value)
        for choice in parameter.choices or ():
            made(choice)
        for bound, beyond in ((parameter.minimum, -0.5), (parameter.maximum, 0.5)):
            if bound is not None:
                with pytest.raises(ValueError):
                    made(bound + beyond)


def test_templates_are_the_nine_of_the_guide_and_can_be_read():
    names = [t.name for t in CATALOG.templates]
    assert names == ["custom", "lrp-0", "epsilon", "gamma", "alpha-beta", "alpha1-beta0", "w2", "flat", "z-box"]
    for template in CATALOG.templates:
        arguments = {k: v for k, v in template.rule.items() if k != "class"}
        rule_class = getattr(rules, template.rule["class"])
        rule = rule_class(**{k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()})
        assert preset_json.rule_as_dict(rule) == template.rule
        assert set(template.tunes) <= set(arguments)
        if template.unified is not None:
            rules.Unified(**template.unified)


def test_the_unified_formula_has_the_four_groups_of_the_guide():
    (unified,) = (kind for kind in CATALOG.rules if kind.name == "Unified")
    groups = {}
    for parameter in unified.parameters:
        groups.setdefault(parameter.group, []).append(parameter.name)
    assert groups["contribution"] == ["alpha", "beta"] and groups["activation"] == ["theta0", "theta1"]
    assert groups["suppression"] == ["epsilon"]
    assert groups["weight"] == ["gamma0", "gamma1", "gamma1p", "gamma1n", "gamma2", "m"]
