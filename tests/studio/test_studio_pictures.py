"""Pictures, signals and texts: uploads, folders, and models of each kind."""

import io

import keras
import numpy as np
import pytest
from askable import asked, encoded, numbers
from PIL import Image

import tf_lrp
from tf_lrp.studio import pictures as pictures_module

pytestmark = pytest.mark.eager


def file(size=(130, 100), kind="PNG", seed=0):
    """The bytes of a picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    with io.BytesIO() as buffer:
        Image.fromarray(pixels).save(buffer, kind)
        return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_an_upload_is_seen_as_the_network_sees_it(client, kind):
    added = client.post("/api/pictures", files={"file": (f"../../my picture.{kind}", file(kind=kind))}).json()
    assert added["name"] == f"my picture.{kind}" and added["source"] == "upload"
    assert client.get("/api/pictures").json()["pictures"][0] == added
    with Image.open(io.BytesIO(client.get(f"/api/pictures/{added['id']}/image").content)) as image:
        seen = np.asarray(image)
    with Image.open(io.BytesIO(file(kind=kind))) as image:
        from tf_lrp.vision.images import fit

        assert np.array_equal(seen, fit(image.convert("RGB"), (96, 96)))
    assert client.delete(f"/api/pictures/{added['id']}").status_code == 204
    assert client.get(f"/api/pictures/{added['id']}/predictions").status_code == 404
    assert client.post(f"/api/pictures/{added['id']}/restore").json() == added
    client.delete(f"/api/pictures/{added['id']}")


@pytest.mark.parametrize("content", [b"", b"no picture", file()[:200], b"\x89PNG\r\n\x1a\n" + b"\x00" * 50])
def test_what_is_no_picture_is_refused(client, content):
    answer = client.post("/api/pictures", files={"file": ("a.png", content)})
    assert answer.status_code == 400 and answer.json()["detail"].startswith("a.png cannot be read")


def test_pictures_of_too_many_pixels_are_refused(client, monkeypatch):
    monkeypatch.setattr(pictures_module, "MOST_PIXELS", 10_000)
    answer = client.post("/api/pictures", files={"file": ("a.png", file())})
    assert answer.status_code == 400 and "13,000 pixels" in answer.json()["detail"]


def test_samples_stay(client, picture):
    assert client.delete(f"/api/pictures/{picture}").status_code == 403
    assert client.delete("/api/pictures/nobody").status_code == 404
    assert client.get("/api/pictures/nobody/image").status_code == 404
    assert client.get(f"/api/pictures/{picture}/values").status_code == 400
    assert client.post("/api/samples", json={"name": "a", "values": [1.0]}).status_code == 400


def test_a_folder_is_listed_page_by_page_and_broken_files_say_so(tmp_path, client):
    data = tmp_path / "data"
    (data / "inner").mkdir(parents=True)
    for n in range(3):
        (data / "inner" / f"{n} <b>.jpg").write_bytes(file(kind="JPEG", seed=n))
    (data / "broken.png").write_bytes(b"no picture")
    (data / "notes.txt").write_text("no picture")
    gallery = pictures_module.Pictures(tmp_path / "state", data)
    gallery.network = client.studio.network
    shown = [p for p in gallery.all() if p.source == "folder"]
    assert [p.name for p in shown] == ["broken.png", "0 <b>.jpg", "1 <b>.jpg", "2 <b>.jpg"]
    assert gallery.x(shown[1].id).shape == (1, 96, 96, 3)
    with pytest.raises(Exception, match=r"broken\.png cannot be read"):
        gallery.x(shown[0].id)
    again = pictures_module.Pictures(tmp_path / "state", data)  # identifiers outlive the server, and need no listing
    again.network = client.studio.network
    assert again.get(shown[2].id) == shown[2]


def test_the_gallery_is_given_in_parts(client):
    whole = client.get("/api/pictures").json()
    part = client.get("/api/pictures?offset=3&limit=2").json()
    assert part == {"pictures": whole["pictures"][3:5], "total": whole["total"]}


def test_classes_are_found_by_name_and_index(client):
    def found(query):
        return [c["name"] for c in client.get("/api/classes", params={"query": query}).json()["classes"]]

    assert found("") == ["circle", "square", "triangle", "star", "cross", "ring"]
    assert found("R") == ["circle", "square", "triangle", "star", "cross", "ring"] and found("ci") == ["circle"]
    assert found("5") == ["ring"] and found("nothing") == []


def saved(model, folder):
    path = folder / f"{model.name}.keras"
    model.save(path)
    return path


def test_a_grey_network_from_a_file_with_its_own_preprocessing(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((20, 30, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ],
        name="grey",
    )
    names = tmp_path / "names.txt"
    names.write_text("a <script>\nb\nc\n", encoding="utf-8")
    settings = {"preprocess": "-1..1", "classes": names}
    with asked(saved(model, tmp_path), tmp_path / "state", **settings) as client:
        picture = client.get("/api/pictures").json()["pictures"][0]["id"]
        described = client.get("/api/session").json()["model"]
        assert described["input"] | {"kind": 0} == {
            "kind": 0, "shape": [20, 30, 1], "height": 20, "width": 30, "channels": 1, "low": [-1.0], "high": [1.0],
            "vocabulary": None,
        }  # fmt: skip
        assert described["head"] == "softmax"
        answer = client.post("/api/explain", json={"picture": picture, "source": {"named": "z"}, "target": 0}).json()
        assert answer["name"] == "a <script>" and numbers(answer["input"]).shape == (20, 30)
        with Image.open(io.BytesIO(client.get(f"/api/pictures/{picture}/image").content)) as image:
            seen = np.asarray(image)
        assert seen.shape == (20, 30, 3) and (seen[..., 0] == seen[..., 1]).all()
        x = seen[None, ..., :1] / 127.5 - 1.0
        probabilities = np.asarray(model(x.astype("float32")))[0]
        found = client.get(f"/api/pictures/{picture}/predictions").json()["classes"]
        assert [c["probability"] for c in found] == pytest.approx(sorted(probabilities, reverse=True), abs=2e-3)


def test_signals_are_explained_by_channel(tmp_path):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((32, 2)),
            keras.layers.Conv1D(4, 5, activation="relu", name="conv"),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(3, name="scores"),
        ],
        name="signal",
    )
    data = tmp_path / "data"
    data.mkdir()
    signal = np.random.default_rng(0).normal(size=(32, 2)).astype("float32")
    np.save(data / "one.npy", signal)
    np.save(data / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    with asked(saved(model, tmp_path), tmp_path / "state", data=data) as client:
        shown = client.get("/api/pictures").json()["pictures"]
        assert [p["source"] for p in shown] == ["sample"] * 3 + ["folder"] * 2 and {p["kind"] for p in shown} == {"signal"}
        assert client.get("/api/session").json()["model"]["head"] is None
        one = shown[3]["id"]
        assert client.get(f"/api/pictures/{one}/values").json()["values"] == signal.tolist()
        body = {"picture": one, "source": {"named": "epsilon"}, "target": 1, "layers": ["conv"]}
        answer = client.post("/api/explain", json=body).json()
        maps = tf_lrp.Analyzer(model, "epsilon").analyze(signal[None], 1, layers=["conv"])
        np.testing.assert_allclose(numbers(answer["input"])[0], maps["input"][0].sum(axis=1), atol=1e-6)
        np.testing.assert_allclose([numbers(c)[0] for c in answer["channels"]], maps["input"][0].T, atol=1e-6)
        np.testing.assert_allclose(numbers(answer["layers"]["conv"])[0], maps["conv"][0].sum(axis=1), atol=1e-6)
        flipped = client.post("/api/flip", json={"picture": one, "mask": encoded(np.ones(32)), "target": 1}).json()
        expected = np.asarray(model(-signal[None]))[0]
        assert [c["score"] for c in sorted(flipped["after"], key=lambda c: c["index"])] == pytest.approx(expected, abs=1e-5)
        assert flipped["image"] is None
        broken = client.post("/api/explain", json={**body, "picture": shown[4]["id"]})
        assert broken.status_code == 400 and "pickled.npy cannot be read" in broken.json()["detail"]
        added = client.post("/api/samples", json={"name": "mine", "values": (2 * signal).tolist()}).json()
        assert client.get("/api/pictures").json()["pictures"][0] == added
        code = client.post("/api/code", json={"picture": added["id"], "source": {"named": "z"}, "target": 0}).json()
        found = {}
        exec(code["python"], found)
        np.testing.assert_allclose(found["relevance"], tf_lrp.Analyzer(model, "z").analyze(2 * signal[None], 0), atol=1e-6)
        for values in ([[1.0]] * 31, [1.0] * 32, [[1.0, 2.0], [1.0]], []):
            assert client.post("/api/samples", json={"name": "bad", "values": values}).status_code == 400
        assert client.post("/api/pictures", files={"file": ("a.png", file())}).status_code == 400


def test_texts_are_explained_token_by_token(tmp_path):
    keras.utils.set_random_seed(2)
    tokens = keras.Input((10,), dtype="int32")
    h = keras.layers.Embedding(50, 8)(tokens)
    h = keras.layers.GlobalAveragePooling1D()(h)
    model = keras.Model(tokens, keras.layers.Dense(4, activation="softmax")(h), name="tokens")
    with asked(saved(model, tmp_path), tmp_path / "state") as client:
        text = np.arange(10) * 3
        added = client.post("/api/samples", json={"name": "mine", "values": text.tolist()}).json()
        assert added["kind"] == "tokens"
        shown = client.get(f"/api/pictures/{added['id']}/values").json()
        assert shown["values"] == text.tolist() and shown["words"] == [str(t) for t in text]
        answer = client.post("/api/explain", json={"picture": added["id"], "source": {"named": "epsilon"}, "target": 2}).json()
        expected = tf_lrp.Analyzer(model, "epsilon").analyze(text[None], 2)[0]
        np.testing.assert_allclose(numbers(answer["input"])[0], expected, atol=1e-6)
        assert client.get("/api/session").json()["model"]["input"]["vocabulary"] == 50
        for values in ([50] * 10, [-1] * 10, [0.5] * 10, [1] * 9):
            assert client.post("/api/samples", json={"name": "bad", "values": values}).status_code == 400
        flipped = client.post("/api/flip", json={"picture": added["id"], "mask": encoded(np.ones(10))})
        assert flipped.status_code == 400 and "cannot be flipped" in flipped.json()["detail"]


def test_a_model_of_something_else_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 4, 5)), keras.layers.Flatten(), keras.layers.Dense(2)], name="volumes")
    with asked(saved(model, tmp_path), tmp_path / "state") as client:
        answer = client.get("/api/pictures")
        assert answer.status_code == 503 and "(None, 4, 4, 4, 5)" in answer.json()["detail"]
