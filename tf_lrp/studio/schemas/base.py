"""What all schemas share: names, bounded texts, requests and problems."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

#: Longest names of designs and pictures, in characters.
LONGEST_NAME = 200
#: Layers whose relevance one request may ask for.
MOST_LAYERS = 64
#: Neurons whose maps one request may ask for.
MOST_NEURONS = 64


def _printable(text: str) -> str:
    """Text without halves of surrogate pairs, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


Text = Annotated[str, AfterValidator(_printable)]
Name = Annotated[Text, Field(min_length=1, max_length=LONGEST_NAME)]
LayerName = Annotated[Text, Field(min_length=1, max_length=1000)]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Base64 = Annotated[str, Field(description="base64")]

InputKind = Literal["picture", "signal", "tokens"]
Replacement = Literal["negate", "mean", "blur", "noise"]
Head = Literal["softmax", "sigmoid"]


class Request(BaseModel):
    """Base of what the page sends: unknown keys, NaN and infinite numbers are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Problem(BaseModel):
    """What went wrong, as a sentence."""

    detail: str
