"""A studio on the shapes network, asked as the page asks it."""

import pytest

pytest.importorskip("fastapi", reason='the studio needs its packages: pip install "tf_lrp[studio]"')

from askable import TOKEN, asked


@pytest.fixture(scope="session")
def client(tmp_path_factory):
    """A client of a studio on the shapes network, its model loaded, with a token; for tests that leave it as it was."""
    with asked("shapes", tmp_path_factory.mktemp("studio")) as client:
        assert client.get("/api/model/layers").status_code == 200
        yield client


@pytest.fixture
def stranger(client):
    """The same studio without a token."""
    client.headers.pop("Authorization")
    client.cookies.clear()
    yield client
    client.cookies.clear()
    client.headers["Authorization"] = f"Bearer {TOKEN}"


@pytest.fixture(scope="session")
def picture(client):
    """The identifier of the first sample."""
    return next(p["id"] for p in client.get("/api/pictures").json()["pictures"] if p["source"] == "sample")


@pytest.fixture
def designed(client):
    """The studio, whose designs are taken away afterwards."""
    yield client
    for design in client.get("/api/designs").json()["designs"]:
        if design["origin"] == "own":
            client.delete(f"/api/designs/{design['id']}")
