"""What is computed in the model, and what is answered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from tf_lrp.studio.schemas.base import MOST_LAYERS, MOST_NEURONS, Base64, Identifier, LayerName, Replacement, Request
from tf_lrp.studio.schemas.designs import PresetSource
from tf_lrp.studio.schemas.model import ClassScore


class Work(Request):
    """What is computed in the model. Of one channel the latest request counts: an older one is answered as stale at once."""

    channel: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="any text; a page that is open twice uses two. Without one, a request is never stale"
    )
    sequence: Annotated[int, Field(ge=0, le=2**53)] = 0


class Answer(BaseModel):
    stale: bool = Field(
        default=False, description="whether a later request of the channel took its place; all else is empty then"
    )
    milliseconds: float = Field(default=0, description="that the work took, without waiting")


class Explained(Work):
    """What is explained."""

    picture: Identifier
    target: int | Literal["top"] = Field(default="top", description="index of a class, or the strongest")
    source: PresetSource


class ExplainRequest(Explained):
    layers: Annotated[list[LayerName], Field(max_length=MOST_LAYERS)] = Field(
        default_factory=list, description="names under `relevance` in /api/model/layers"
    )


class Map(BaseModel):
    """Relevance or activation, summed over channels."""

    height: int = Field(description="1 for signals, texts and vectors")
    width: int
    sum: float
    min: float
    max: float
    values: Base64 = Field(description="base64 of float32 (height, width)")


class Explanation(Answer):
    target: int | None = None
    name: str | None = None
    score: float | None = None
    probability: float | None = None
    input: Map | None = None
    channels: list[Map] | None = Field(default=None, description="of a signal with several channels: one map for each")
    layers: dict[str, Map] = Field(default_factory=dict)


class FlipRequest(Work):
    picture: Identifier
    mask: Base64 = Field(max_length=8_000_000, description="base64 of uint8 (height, width), 1 where a pixel is replaced")
    how: Replacement = "negate"
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    target: int | Literal["top"] = "top"
    top: Annotated[int, Field(ge=1, le=100)] = Field(default=10, description="number of classes")


class ClassChange(ClassScore):
    before: float = Field(description="score")
    change: float = Field(description="of the score")
    probability_before: float | None


class Changed(Answer):
    """Predictions before and after a change."""

    before: list[ClassScore] = Field(default_factory=list, description="strongest classes, and the target")
    after: list[ClassChange] = Field(default_factory=list, description="strongest classes, those of before, and the target")


class Flipped(Changed):
    image: Base64 | None = Field(default=None, description="base64 of the changed picture as PNG, cut to the colours there are")
    pixels: int = 0


class CurveRequest(Explained):
    how: Replacement = "negate"
    patch: Annotated[int, Field(ge=1, le=512)] = Field(default=8, description="side of the squares, in pixels")
    percent: Annotated[float, Field(gt=0, le=100)] = Field(default=100, description="of the pixels, at the end of the curve")
    points: Annotated[int, Field(ge=1, le=100)] = 20
    draws: Annotated[int, Field(ge=1, le=20)] = Field(default=3, description="random orders that are averaged")
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class Curves(Answer):
    """The score of the target while more and more of the picture is replaced."""

    fraction: list[float] = Field(default_factory=list, description="of the pixels, from 0")
    most_relevant_first: list[float] = Field(default_factory=list)
    least_relevant_first: list[float] = Field(default_factory=list)
    random: list[float] = Field(default_factory=list)
    aopc: dict[str, float] = Field(default_factory=dict, description="area over each curve")


class NeuronsRequest(Explained):
    layer: LayerName


class Neurons(Answer):
    """Sums over space for each channel of a layer; orders from the largest magnitude down."""

    layer: str | None = None
    positive: list[float] = Field(default_factory=list, description="of relevance, >= 0")
    negative: list[float] = Field(default_factory=list, description="of relevance, <= 0")
    activation: list[float] = Field(default_factory=list)
    by_positive: list[int] = Field(default_factory=list, description="channels, sorted")
    by_negative: list[int] = Field(default_factory=list)
    by_activation: list[int] = Field(default_factory=list)


class NeuronMapsRequest(NeuronsRequest):
    channels: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=MOST_NEURONS)]


class NeuronMap(BaseModel):
    channel: int
    relevance: Map
    activation: Map


class NeuronMaps(Answer):
    neurons: list[NeuronMap] = Field(default_factory=list)


class AblateRequest(Work):
    picture: Identifier
    layer: LayerName
    channels: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=100_000)]
    target: int | Literal["top"] = "top"
    top: Annotated[int, Field(ge=1, le=100)] = 10


class LayerBalance(BaseModel):
    name: str
    layer_class: str
    rule: str
    received: float
    passed: float
    kept: dict[str, float] = Field(description="cause -> relevance that was not handed on")
    rounding: float


class Conservation(Answer):
    """Where the relevance went: output = input + what was kept + rounding."""

    output: float | None = None
    input: float | None = None
    kept: dict[str, float] = Field(default_factory=dict)
    rounding: float | None = None
    layers: list[LayerBalance] = Field(default_factory=list, description="from the output to the input")


class EvaluateRequest(Explained):
    """Pixels of the class: exactly one of box, mask and own is given, or none for the numbers that need no mask."""

    box: Annotated[list[int], Field(min_length=4, max_length=4)] | None = Field(
        default=None, description="[left, top, right, bottom] in pixels of the network's picture, the last two exclusive"
    )
    mask: Base64 | None = Field(default=None, max_length=8_000_000, description="base64 of uint8 (height, width)")
    own: bool = Field(default=False, description="the picture's own mask of the target")


class Number(BaseModel):
    name: str
    value: float | None = Field(description="null where it is not defined")
    better: Literal["higher", "lower"] | None
    description: str


class Numbers(Answer):
    numbers: list[Number] = Field(default_factory=list)


class CodeRequest(Request):
    picture: Identifier
    target: int | Literal["top"] = "top"
    source: PresetSource


class Code(BaseModel):
    """What reproduces a view."""

    python: str
    command: str = Field(description="for a shell; empty for signals and texts")
