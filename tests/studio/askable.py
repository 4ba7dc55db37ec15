"""Studios for tests."""

import base64
import contextlib
import warnings

import numpy as np

from tf_lrp.studio import application
from tf_lrp.studio.studio import Settings, Studio

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette's client prefers a successor of httpx
    from starlette.testclient import TestClient

TOKEN, PORT = "the-token", 8753
ORIGIN = f"http://127.0.0.1:{PORT}"


@contextlib.contextmanager
def asked(model, state, **settings):
    """A client of a studio, as the page asks it: with the token; ``client.studio`` is the `Studio`."""
    studio = Studio(Settings(str(model), state, **settings))
    served = application.create(studio, TOKEN, "127.0.0.1", PORT)
    with TestClient(served, base_url=ORIGIN, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        client.studio = studio
        yield client


def numbers(shown):
    """A map of an answer as array (height, width)."""
    return np.frombuffer(base64.b64decode(shown["values"]), "<f4").reshape(shown["height"], shown["width"])


def encoded(mask):
    """A mask as requests hold it."""
    return base64.b64encode(np.asarray(mask, np.uint8).tobytes()).decode()


def segments(*lasts_and_rules):
    """Segments that end at positions, each with its rule."""
    starts = [0, *(last + 1 for last, _ in lasts_and_rules)]
    return [{"first": first, "last": last, "rule": rule} for first, (last, rule) in zip(starts, lasts_and_rules, strict=False)]
