"""`tf_lrp.integrations.innvestigate` under its earlier name."""

from tf_lrp.integrations.aliases import alias

alias(__name__, "tf_lrp.integrations.innvestigate")
