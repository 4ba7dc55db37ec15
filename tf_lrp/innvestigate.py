"""`tf_lrp.integrations.innvestigate` under its earlier name."""

from typing import TYPE_CHECKING

from tf_lrp.integrations.aliases import alias

if TYPE_CHECKING:
    from tf_lrp.integrations.innvestigate import *  # noqa: F403

alias(__name__, "tf_lrp.integrations.innvestigate")
