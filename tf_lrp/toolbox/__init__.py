"""The LRP Toolbox's modules under their own names, over Keras: scripts of the toolbox change their imports.

    from tf_lrp.toolbox import model_io, data_io, render

`docs/from-lrp-toolbox.md` lists every function, option and file of the toolbox's manual, and where it is here.
"""

from typing import TYPE_CHECKING

from tf_lrp.lazy_names import lazy_names

_MODULES = {name: name for name in ("data_io", "model_io", "modules", "render")}

# The same names for editors and type checkers, which run nothing.
if TYPE_CHECKING:
    from tf_lrp.toolbox import data_io as data_io
    from tf_lrp.toolbox import model_io as model_io
    from tf_lrp.toolbox import modules as modules
    from tf_lrp.toolbox import render as render

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
