"""The rules by the names that the LRP Toolbox gives its decompositions (manual, section 4)."""

from __future__ import annotations

from tf_lrp.messages.names import did_you_mean
from tf_lrp.rules.base import Rule
from tf_lrp.rules.contribution import Epsilon, ZRule
from tf_lrp.rules.first_layer import Flat, WSquare
from tf_lrp.rules.signs import Alpha

_WITHOUT_PARAMETER = {"simple": ZRule, "none": ZRule, "ww": WSquare, "w^2": WSquare, "flat": Flat}
_WITH_PARAMETER = {"epsilon": Epsilon, "eps": Epsilon, "alphabeta": Alpha, "alpha": Alpha}


def decomposition(lrp_var: str | None = None, param: float | None = None) -> Rule:
    """The rule of a decomposition.

    Args:
        lrp_var: None, "none" or "simple" (equation 8), "epsilon" or "eps" (11), "alphabeta" or "alpha" (13), "ww" or "w^2"
            (14), "flat" (15); upper and lower case are the same.
        param: epsilon, or alpha. The others ignore it, as in the toolbox.

    Raises:
        TypeError, ValueError: for another name, and for a missing or unsuitable ``param``.
    """
    if not (lrp_var is None or isinstance(lrp_var, str)):
        raise TypeError(f"lrp_var is the name of a decomposition, such as 'epsilon', or None; got {lrp_var!r}.")
    name = "simple" if lrp_var is None else lrp_var.lower()
    if name in _WITHOUT_PARAMETER:
        return _WITHOUT_PARAMETER[name]()
    if name not in _WITH_PARAMETER:
        known = [*_WITHOUT_PARAMETER, *_WITH_PARAMETER]
        raise ValueError(f"There is no decomposition {lrp_var!r}.{did_you_mean(lrp_var, known)} They are: {', '.join(known)}.")
    if param is None:
        raise ValueError(f"The decomposition {lrp_var!r} needs its parameter: param=0.01, for instance, or param=1.")
    return _WITH_PARAMETER[name](param)
