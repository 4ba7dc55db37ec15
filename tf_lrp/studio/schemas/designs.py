"""Rules, designs and the presets of requests."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from tf_lrp.studio.schemas.base import Identifier, Name, Problem, Request, Text


class RuleParameter(BaseModel):
    """A parameter of a rule.

    Its kind: a number; a boolean; a choice; bounds, null or a number or one for each channel; five numbers or null; a
    stabilizer, a number or {"epsilon", "clip", "norm_scale"}.
    """

    name: str
    kind: Literal["number", "boolean", "choice", "bound", "numbers", "stabilizer"]
    default: Any
    minimum: float | None = Field(description="of the values that the rule takes; null for none")
    maximum: float | None
    slider: list[float] | None = Field(description="[from, to, step] of a slider; other values may be typed")
    choices: list[str] | None
    symbol: str = Field(description="LaTeX")
    group: Literal["contribution", "activation", "weight", "suppression", "bounds", "bias", "other"]
    description: str


class RuleKind(BaseModel):
    """A class of rules."""

    name: str = Field(description="as in a preset's JSON, {'class': name, ...}")
    title: str
    summary: str
    formula: str = Field(description="LaTeX; @name@ stands for the value of the parameter of this name")
    kinds: list[str] = Field(description="kinds of layers that it is for: weights, or others that have to be addressed")
    parameters: list[RuleParameter]


class RuleTemplate(BaseModel):
    """A button of the panel of rules: a rule with its parameters set."""

    name: str
    title: str = Field(description="LaTeX")
    rule: dict[str, Any] = Field(description="as in a preset's JSON")
    tunes: list[str] = Field(description="the parameters that it is about")
    unified: dict[str, Any] | None = Field(description="the same as parameters of Unified; null where it cannot express it")


class Rules(BaseModel):
    rules: list[RuleKind]
    templates: list[RuleTemplate]
    kinds: list[str] = Field(description="of layers, for selectors")


class Segment(Request):
    """A range of the layers with weights, and the rule of all of them."""

    first: Annotated[int, Field(ge=0, le=1_000_000)]
    last: Annotated[int, Field(ge=0, le=1_000_000, description="inclusive")]
    rule: dict[str, Any] = Field(description='as in a preset\'s JSON: {"class": "Epsilon", "epsilon": 0.25}')


class PresetSource(Request):
    """The preset that explains, given in one of four ways: exactly one of design, segments, preset and named is set."""

    design: Identifier | None = None
    segments: Annotated[list[Segment], Field(max_length=10_000)] | None = Field(
        default=None, description="from the input to the output, without gaps"
    )
    others: Annotated[list[dict[str, Any]], Field(max_length=1000)] = Field(
        default_factory=list, description="with segments: entries of a preset's JSON for layers without weights"
    )
    preset: dict[str, Any] | None = Field(default=None, description="a preset's JSON")
    named: Annotated[Text, Field(max_length=1000)] | None = Field(
        default=None, description="as on the command line: cmp_a2_flat, or epsilon:epsilon=0.1"
    )


class Design(BaseModel):
    """A preset that a person makes, or an example."""

    id: str
    name: str
    revision: int = Field(description="grows with each change")
    origin: Literal["new", "own", "example"] = Field(
        description='"new" is the one called My new model, which is always there; examples cannot be changed'
    )
    note: str = Field(description="of an example: where it is from")
    preset: dict[str, Any] = Field(description="the preset's JSON, as Preset.to_json writes it")
    segments: list[Segment] | None = Field(
        description="the preset as segments of this model; null while the model is loading, or where the preset does not fit it"
    )
    others: list[dict[str, Any]] = Field(description="entries of the preset for layers without weights")
    exact: bool = Field(description="whether the preset consists of these segments; if not, a change of one rewrites it so")
    problem: str | None = Field(description="why the preset does not fit this model")


class Designs(BaseModel):
    designs: list[Design]


class DesignChange(PresetSource):
    """A change of a design. What is not given stays."""

    revision: Annotated[int, Field(ge=0, description="the revision that was changed")]
    name: Name | None = None


class NewDesign(PresetSource):
    name: Name


class DesignConflict(Problem):
    """The design was changed elsewhere: it is unchanged by this request."""

    design: Design
