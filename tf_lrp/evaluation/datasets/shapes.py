"""Drawn shapes with exact masks, for the small network of the model zoo."""

from __future__ import annotations

from functools import cached_property, partial

import numpy as np

from tf_lrp.evaluation.datasets.base import Dataset, Picture, Region


class Shapes(Dataset):
    """Pictures of `tf_lrp.model_zoo.shapes.sample` (96 x 96 pixels, six classes) with the visible pixels of every class.

    They are drawn when first used, in about 4 ms each. A class that is completely hidden has no region.

    Args:
        n: number of pictures.
        seed: of the drawing. The default differs from the seeds with which the network of the zoo was trained and tested.

    Raises:
        ValueError: n is not positive.
    """

    name = "shapes"
    fitting = "as it is"

    def __init__(self, n=500, seed=3000):
        super().__init__()
        if n < 1:
            raise ValueError(f"Expected at least one picture; got n={n}.")
        self.n, self.seed = n, seed

    def __len__(self):
        return self.n

    def __iter__(self):
        for number, (image, masks) in enumerate(zip(self._sample.images, self._sample.masks, strict=True)):
            name = f"shapes {self.seed}-{number}"
            regions = tuple(Region(label, mask=mask) for label, mask in enumerate(masks) if mask.any())
            if regions:
                yield Picture(name, partial(np.array, image), regions)
            else:
                self.report(name, "nothing annotated", "every object is hidden")

    @cached_property
    def _sample(self):
        from tf_lrp.model_zoo import shapes  # imports TensorFlow, which the other data sets do not need

        return shapes.sample(self.n, seed=self.seed)
