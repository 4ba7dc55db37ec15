"""Selectors: to which layers of a model a rule applies. They are combined with ``&``, ``|`` and ``~``.

    select.kind("conv") & ~select.first(2)      # every convolution except the first two

Pooling, merging and other layers without weights keep their own rules unless a selector *addresses* them: with one of
their kinds (``select.kind("pooling")``) or with their exact name. ``select.all()``, name patterns and positions select
layers with weights only.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from tf_lrp.messages.checks import is_integer
from tf_lrp.operations.kinds import KINDS

if TYPE_CHECKING:
    from tf_lrp.graph.facts import Facts

#: How deeply selectors may be nested in JSON.
_DEEPEST = 200


@dataclass(frozen=True)
class Selector:
    """Base of all selectors."""

    def matches(self, facts: Facts) -> bool:
        """Whether the selector describes the node."""
        raise NotImplementedError(f"{type(self).__name__} does not define matches(facts)")

    def addresses(self, facts: Facts) -> bool:
        """Whether it also selects a node without weights."""
        return False

    def selects(self, facts: Facts) -> bool:
        """Whether the rule of this selector applies to the node."""
        return self.matches(facts) and ("weights" in facts.kinds or self.addresses(facts))

    def __and__(self, other: Selector) -> Selector:
        return And(self, other)

    def __or__(self, other: Selector) -> Selector:
        return Or(self, other)

    def __invert__(self) -> Selector:
        return Not(self)


@dataclass(frozen=True)
class All(Selector):
    def matches(self, facts):
        return True

    def __str__(self):
        return "all()"


@dataclass(frozen=True)
class Name(Selector):
    pattern: str

    def __post_init__(self):
        if not isinstance(self.pattern, str):
            raise TypeError(f"select.name needs a layer, its name or a pattern, got {self.pattern!r}.")

    @property
    def _dotted(self):
        """The pattern as the library writes paths: TensorFlow's name scopes "block/conv" are "block.conv"."""
        return self.pattern.replace("/", ".")

    def matches(self, facts):
        names = (*facts.layers, facts.name, facts.path)
        return self.addresses(facts) or self._dotted in names or any(fnmatchcase(name, self._dotted) for name in names)

    def addresses(self, facts):
        exact = self._dotted in (*facts.layers[-1:], facts.name, facts.path)
        # A path of name scopes inside a layer. (Names may have dots, so the end of a path is no path.)
        return exact or ("/" in self.pattern and facts.path.endswith(f".{self._dotted}"))

    def __str__(self):
        return f"name({self.pattern!r})"


@dataclass(frozen=True)
class Kind(Selector):
    kinds: tuple[str, ...]

    def __post_init__(self):
        if not isinstance(self.kinds, tuple) or not self.kinds or any(k not in KINDS for k in self.kinds):
            raise ValueError(f"select.kind needs one or more of {', '.join(KINDS)}; got {self.kinds!r}.")

    def matches(self, facts):
        return not facts.kinds.isdisjoint(self.kinds)

    def addresses(self, facts):
        return self.matches(facts)

    def __str__(self):
        return f"kind({', '.join(map(repr, self.kinds))})"


@dataclass(frozen=True)
class Index(Selector):
    start: int
    stop: int

    def __post_init__(self):
        if not is_integer(self.start) or not is_integer(self.stop):
            raise TypeError(f"select.index needs positions as integers, got {self.start!r} and {self.stop!r}.")

    def matches(self, facts):
        if facts.index is None:
            return False
        start, stop = (i + facts.num_weighted if i < 0 else i for i in (self.start, self.stop))
        return start <= facts.index <= stop

    def __str__(self):
        return f"index({self.start}, {self.stop})"


@dataclass(frozen=True)
class Fraction(Selector):
    start: float
    stop: float

    def __post_init__(self):
        if any(isinstance(end, bool) for end in (self.start, self.stop)) or not 0 <= self.start < self.stop <= 1:
            raise ValueError(f"select.fraction needs 0 <= start < stop <= 1, got start={self.start!r}, stop={self.stop!r}.")

    def matches(self, facts):
        return facts.index is not None and self.start <= facts.index / facts.num_weighted < self.stop

    def __str__(self):
        return f"fraction({self.start:g}, {self.stop:g})"


@dataclass(frozen=True)
class _End(Selector):
    n: int = 1
    kind: str | None = None

    def __post_init__(self):
        if not is_integer(self.n) or self.n < 0 or (self.kind is not None and self.kind not in KINDS):
            raise ValueError(
                f"select.{type(self).__name__.lower()} needs an integer n >= 0 and a kind among {', '.join(KINDS)}, "
                f"got n={self.n!r}, kind={self.kind!r}."
            )

    def _near(self, facts, passed):
        kind = self.kind or "weights"
        return kind in facts.kinds and passed[kind] < self.n

    def __str__(self):
        kind = "" if self.kind is None else f", kind={self.kind!r}"
        return f"{type(self).__name__.lower()}({self.n}{kind})"


@dataclass(frozen=True)
class First(_End):
    def matches(self, facts):
        return self._near(facts, facts.upstream)


@dataclass(frozen=True)
class Last(_End):
    def matches(self, facts):
        return self._near(facts, facts.downstream)


@dataclass(frozen=True)
class And(Selector):
    left: Selector
    right: Selector

    def __post_init__(self):
        _check_selectors(self.left, self.right)

    def matches(self, facts):
        return self.left.matches(facts) and self.right.matches(facts)

    def addresses(self, facts):
        return self.left.addresses(facts) or self.right.addresses(facts)

    def __str__(self):
        return f"({self.left} & {self.right})"


@dataclass(frozen=True)
class Or(Selector):
    left: Selector
    right: Selector

    def __post_init__(self):
        _check_selectors(self.left, self.right)

    def matches(self, facts):
        return self.left.matches(facts) or self.right.matches(facts)

    def addresses(self, facts):
        return any(side.matches(facts) and side.addresses(facts) for side in (self.left, self.right))

    def __str__(self):
        return f"({self.left} | {self.right})"


@dataclass(frozen=True)
class Not(Selector):
    inner: Selector

    def __post_init__(self):
        _check_selectors(self.inner)

    def matches(self, facts):
        return not self.inner.matches(facts)

    def __str__(self):
        return f"~{self.inner}"


def _check_selectors(*parts):
    for part in parts:
        if not isinstance(part, Selector):
            raise TypeError(
                f"Selectors are combined with selectors, as in select.first(2) | select.kind('conv'); got {part!r}."
            )


def all() -> Selector:
    """Every layer with weights."""
    return All()


def name(pattern: Any) -> Selector:
    """Layers whose name, or dotted path in nested models, matches a shell pattern (``"block1_*"``).

    A Keras layer may be passed instead of its name. All uses of a shared layer are selected; ``"conv.2"`` selects the second
    use only. The name of a nested model or composite layer selects all layers with weights in it, the name of a separable
    convolution both its steps, and ``"conv_depthwise"`` the first step. The exact name of a layer without weights addresses it.
    """
    return Name(getattr(pattern, "name", pattern))


def kind(*kinds: str) -> Selector:
    """Layers of one of these kinds, with or without weights: ``kind("conv")``, ``kind("pooling", "merge")``.

    Raises:
        ValueError: for an unknown kind, listing the known ones.
    """
    return Kind(tuple(kinds))


def index(first: int, last: int | None = None) -> Selector:
    """Layers with weights at the positions ``first`` to ``last`` inclusive, counted from the input, starting at 0.

    Negative positions are counted from the output: -1 is the last layer with weights.
    """
    return Index(first, first if last is None else last)


def fraction(start: float, stop: float) -> Selector:
    """Layers with weights in a range of depth: those with position / number of such layers in [start, stop)."""
    return Fraction(float(start), float(stop))


def first(n: int = 1, kind: str | None = None) -> Selector:
    """Layers (of one kind) with fewer than ``n`` such layers before them on every path from an input.

    In parallel branches, each layer that reads the model's input directly is a first layer.
    """
    return First(n, kind)


def last(n: int = 1, kind: str | None = None) -> Selector:
    """Layers (of one kind) with fewer than ``n`` such layers after them on every path to an output."""
    return Last(n, kind)


_SELECTORS = {c.__name__.lower(): c for c in (All, Name, Kind, Index, Fraction, First, Last, And, Or, Not)}


def to_dict(selector: Selector) -> dict[str, Any]:
    """A selector as a dict that JSON can hold: ``{"select": "kind", "kinds": ["conv"]}``."""
    values = {f.name: getattr(selector, f.name) for f in fields(selector)}
    encoded = {k: to_dict(v) if isinstance(v, Selector) else list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    return {"select": type(selector).__name__.lower(), **encoded}


def from_dict(data: dict[str, Any], deepest: int = _DEEPEST) -> Selector:
    """The inverse of `to_dict`.

    Args:
        data: dict.
        deepest: maximal depth of nesting.

    Raises:
        ValueError: if ``data`` does not describe a selector.
    """
    if deepest < 1:
        raise ValueError(f"Selectors are nested more than {_DEEPEST} deep: name layers by patterns, or in several entries.")
    selector_class = _SELECTORS.get(data["select"]) if isinstance(data.get("select"), str) else None
    if selector_class is None:
        raise ValueError(
            f'Expected a selector, {{"select": ...}} with one of {", ".join(_SELECTORS)}; got {reprlib.repr(data)}.'
        )
    arguments = {k: v for k, v in data.items() if k != "select"}
    takes = {f.name for f in fields(selector_class)}
    if set(arguments) - takes:
        unknown = reprlib.repr(sorted(set(arguments) - takes))
        known = ", ".join(sorted(takes)) or "nothing"
        raise ValueError(f"The selector {data['select']!r} does not take {unknown}; it takes {known}.")
    decoded = {}
    for name, value in arguments.items():
        value = from_dict(value, deepest - 1) if isinstance(value, dict) else value
        decoded[name] = tuple(value) if isinstance(value, list) else value
    try:
        return selector_class(**decoded)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The selector {data['select']!r} cannot be made of {reprlib.repr(arguments)}: {error}") from None
