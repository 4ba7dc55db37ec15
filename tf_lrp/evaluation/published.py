"""Figures that papers report, to be read beside one's own."""

from __future__ import annotations

#: Kohlbrenner et al. 2020, Table I: (data set, network) -> preset or method -> (mu_w, mu <= 0.25, mu <= 0.5, mu).
LOCALIZATION = {
    ("voc", "caffenet"): {
        "cmp_a2_flat": (2.716, 0.307, 0.421, 0.532),
        "cmp_a1": (2.664, 0.306, 0.426, 0.539),
        "cmp_a1_flat": (2.598, 0.301, 0.421, 0.535),
        "cmp_a2": (2.475, 0.276, 0.388, 0.504),
        "z": (2.128, 0.236, 0.353, 0.480),
        "guided_backprop": (1.943, 0.212, 0.335, 0.470),
        "alpha2_beta1": (1.843, 0.205, 0.320, 0.452),
        "alpha1_beta0": (1.486, 0.163, 0.273, 0.403),
        "uniform": (1.000, 0.100, 0.186, 0.322),
    },
    ("imagenet", "vgg16"): {
        "cmp_a2_flat": (1.902, 0.397, 0.534, 0.714),
        "cmp_a2": (1.797, 0.368, 0.505, 0.693),
        "cmp_a1": (1.7044, 0.3467, 0.4887, 0.6898),
        "cmp_a1_flat": (1.7043, 0.3466, 0.4886, 0.6898),
        "alpha2_beta1": (1.702, 0.332, 0.496, 0.706),
        "guided_backprop": (1.640, 0.312, 0.485, 0.710),
        "alpha1_beta0": (1.609, 0.306, 0.475, 0.699),
    },
}


def localization(dataset, network):
    """Table I's rows for a data set and a network, or None where the paper has none.

    Args:
        dataset: "imagenet" or "voc".
        network: name of the network.
    """
    return LOCALIZATION.get((dataset.lower(), network.lower()))
