"""The session, the layers, the classes and the pictures."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from tf_lrp.studio.schemas.base import Head, InputKind, Name, Request


class Input(BaseModel):
    """What the model takes, without the axis of samples."""

    kind: InputKind
    shape: list[int | None] = Field(description="of one sample; null for a free length")
    height: int | None = Field(description="of pictures, and of their relevance; null for others")
    width: int | None
    channels: int | None
    low: list[float] | None = Field(description="smallest value of a prepared picture in each channel; null for others")
    high: list[float] | None = Field(description="largest; bounds of z-box")
    vocabulary: int | None = Field(description="number of tokens that the model knows; null for others")


class Model(BaseModel):
    name: str
    source: str = Field(description="what the command line was given: a name, a file or a folder")
    input: Input
    classes: int
    head: Head | None = Field(description="what follows the scores; null if the model ends in scores")
    layers: int
    weighted_layers: int = Field(description="layers that rules are chosen for; segments are ranges of them")


class NamedPreset(BaseModel):
    """A preset of the library."""

    name: str
    description: str
    parameters: dict[str, Any] = Field(description="name -> default")


class Limits(BaseModel):
    upload_bytes: int
    upload_pixels: int
    name_length: int
    layers: int = Field(description="layers whose relevance one request may ask for")
    neurons: int = Field(description="neurons whose maps one request may ask for")


class Session(BaseModel):
    state: Literal["loading", "ready", "failed"]
    stage: str = Field(description="what is being done, as a sentence")
    error: str | None
    seconds: float = Field(description="since the server started")
    model: Model | None = Field(description="null unless the state is ready")
    source: str
    presets: list[NamedPreset]
    version: str
    limits: Limits


class Layer(BaseModel):
    """One operation of the model, as the analyzer sees it (normalizations are folded, activations stand alone)."""

    name: str
    layer_class: str
    kinds: list[str]
    kind: str = Field(description="the one that a colour stands for: conv, dense, pooling, activation, merge, input ...")
    inputs: list[str] = Field(description="names of the layers that it takes")
    output_shape: list[int | None] = Field(description="without the axis of samples")
    channels: int | None = Field(description="length of the last axis")
    weighted: bool = Field(description="whether segments give it its rule")
    index: int | None = Field(description="position among the layers with weights; null for others")
    segment_position: int = Field(
        description="position among the layers with weights of the last one up to and including it; -1 before the first"
    )
    relevance: str | None = Field(description="the name by which its relevance is asked for; null where it has none")
    depth: int = Field(description="number of layers on the longest path from an input to it")


class Layers(BaseModel):
    layers: list[Layer] = Field(description="in topological order, the inputs first")
    outputs: list[str]


class ClassName(BaseModel):
    index: int
    name: str


class ClassNames(BaseModel):
    classes: list[ClassName]
    total: int = Field(description="number of classes that match")


# -- pictures --------------------------------------------------


class Picture(BaseModel):
    """A sample: a picture, a signal or a text."""

    id: str
    name: str
    kind: InputKind
    source: Literal["sample", "folder", "upload"]
    masks: list[int] = Field(description="classes whose pixels are known, for /api/evaluate")


class Pictures(BaseModel):
    pictures: list[Picture]
    total: int


class NewSample(Request):
    """A signal or a text; pictures are uploaded as files."""

    name: Name
    values: list[float] | list[list[float]] = Field(
        description="of a signal: (time, channels), or (time,) if it has one; of a text: token numbers", max_length=1_000_000
    )


class Values(BaseModel):
    """What a signal or a text holds."""

    shape: list[int]
    values: list[float] | list[list[float]]
    words: list[str] | None = Field(description="of tokens; null for signals")


class ClassScore(BaseModel):
    index: int
    name: str
    score: float = Field(description="before the softmax or sigmoid, in units of relevance")
    probability: float | None


class Predictions(BaseModel):
    classes: list[ClassScore] = Field(description="from the strongest down, then those that were asked for")
    milliseconds: float
