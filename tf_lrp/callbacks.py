"""`tf_lrp.integrations.tensorboard` under its earlier name."""

from typing import TYPE_CHECKING

from tf_lrp.integrations.aliases import alias

if TYPE_CHECKING:
    from tf_lrp.integrations.tensorboard import *  # noqa: F403

alias(__name__, "tf_lrp.integrations.tensorboard")
