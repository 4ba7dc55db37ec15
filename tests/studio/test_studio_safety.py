"""Who may ask, and what is refused."""

import json
import random
import string

import pytest
from askable import PORT, TOKEN, encoded

from tf_lrp.studio import safety


def test_the_page_needs_no_token_and_the_routes_do(stranger):
    assert stranger.get("/").status_code == 200
    for path in ("/api/session", "/api/designs", "/openapi.json", "/api/nothing"):
        assert stranger.get(path).status_code == 401, path
    assert stranger.get("/api/session", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    for wrong in (f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ", f"Basic {TOKEN}", "Bearer \u00fc"):
        headers = {"Authorization": wrong.encode("latin-1")}
        assert stranger.get("/api/session", headers=headers).status_code == 401, wrong


def test_the_link_sets_a_cookie_that_only_this_site_sends(stranger):
    assert "set-cookie" not in stranger.get("/?token=wrong").headers
    answer = stranger.get(f"/?token={TOKEN}")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and f"tf_lrp_studio_{PORT}=" in cookie
    assert stranger.get("/api/session").status_code == 200
    stranger.cookies.clear()
    assert stranger.get("/api/session", headers={"Cookie": "a=b; nonsense; \x7f"}).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://localhost:{PORT}"},  # another origin than 127.0.0.1
        {"Origin": f"https://127.0.0.1:{PORT}"},
        {"Origin": f"http://127.0.0.1:{PORT + 1}"},
        {"Host": "evil.example"},
        {"Host": f"evil.example:{PORT}"},
        {"Host": f"127.0.0.1.evil.example:{PORT}"},
        {"Host": f"user@127.0.0.1:{PORT}"},
        {"Host": f"127.0.0.1:{PORT + 1}"},
        {"Host": "127.0.0.1"},
        {"Host": f"127.0.0.1:{PORT}/x"},
        {"Host": ""},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    ],
)
def test_foreign_pages_and_names_get_403_even_with_the_token(client, headers):
    for path in ("/", "/api/session", "/assets/x.js"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 403 and answer.json()["detail"].endswith((".", "printed."))
    assert client.post("/api/designs", json={}, headers=headers).status_code == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_this_machines_own_names_are_known(client, name):
    headers = {"Host": f"{name}:{PORT}", "Origin": f"http://{name}:{PORT}", "Sec-Fetch-Site": "same-origin"}
    assert client.get("/api/session", headers=headers).status_code == 200


def test_following_a_link_to_the_page_is_allowed(client):
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get(f"/?token={TOKEN}", headers=headers).status_code == 200


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_kept(client):
    answer = client.get("/api/session")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "http" not in policy and "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_bodies_are_limited_in_size(client, monkeypatch):
    monkeypatch.setattr(safety, "JSON_BYTES", 1000)
    monkeypatch.setattr(safety, "UPLOAD_BYTES", 2000)
    content = b'{"name": "' + b"x" * 1000 + b'"}'
    assert client.post("/api/designs", content=content).status_code == 413
    assert client.post("/api/designs", content=iter([content[:500], content[500:]])).status_code == 413
    assert client.post("/api/designs", content=iter([b'{"na', b'me": 1}'])).status_code == 422
    assert client.post("/api/pictures", files={"file": ("a.png", b"x" * 1500)}).status_code == 400
    assert client.post("/api/pictures", files={"file": ("a.png", b"x" * 2500)}).status_code == 413


@pytest.mark.parametrize("path", ["/assets/../studio.py", "/assets/%2e%2e/studio.py", "/assets//etc/passwd", "/../setup.py"])
def test_no_file_beyond_the_page_is_served(client, path):
    assert client.get(path).status_code in (400, 404)


def test_a_server_that_listens_at_all_addresses_takes_any_address_but_no_name():
    checked = safety.Safety(None, TOKEN, "0.0.0.0", PORT)
    known = {host: checked._knows(f"{host}:{PORT}") for host in ("192.168.1.7", "127.0.0.1", "[fe80::1]", "evil.example")}
    assert known == {"192.168.1.7": True, "127.0.0.1": True, "[fe80::1]": True, "evil.example": False}


# -- fuzz ---------------------------------------------------------------------------------------------------------------------

#: Requests of one run here. Ten thousand take some minutes.
REQUESTS = 400
SEGMENTS = [{"first": 0, "last": 5, "rule": {"class": "Gamma", "gamma": 0.1}}]
ENTRY, HUGE = ({"select": "all", "rule": rule} for rule in ({"class": "ZRule"}, {"class": "Epsilon", "epsilon": 1e300}))
WORDS = [
    None, True, False, 0, 1, -1, 2**63, 1e308, -0.0, "", "new", "top", "z", "epsilon", "cmp_a2_flat", "sample-1", "conv1",
    "pool1", "../../etc/passwd", "%00", "\ud800", "\x00", "a" * 300, "configuration-1", "model-1", "negate", "noise", "AAAA",
    [], {}, [0], [[1.0]], [ENTRY], {"named": "z"}, {"design": "new"}, {"segments": SEGMENTS}, {"preset": {"rules": [HUGE]}},
    {"class": "Flat"}, {"class": "Epsilon", "epsilon": -1}, {"class": "Unified"}, {"name": "x", "rules": []},
]  # fmt: skip
#: What makes requests valid, or nearly so, by the names of their entries.
USUAL = {
    "picture": ["sample-1", "sample-2"], "layer": ["conv1", "conv5_relu", "logits"], "layers": [["conv2"], ["pool1", "logits"]],
    "source": [{"named": "cmp_a2"}, {"design": "configuration-5"}, {"segments": SEGMENTS}, {"preset": {"rules": [HUGE]}}],
    "target": ["top", 0, 5, 6], "channels": [[0], [3, 5]], "mask": [encoded([[1] * 96] * 96)], "channel": ["a", "b"],
    "points": [2], "draws": [1], "patch": [48], "name": ["mine"], "revision": [0, 1], "top": [5],
    "box": [[1, 2, 30, 40], [9, 9, 9, 9]],
}  # fmt: skip
IDENTIFIERS = ["new", "model-1", "sample-1", "sample-2", "x" * 70, "..%2f..", "%ff", "a"]
BODIES = [b"", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5_000, b"NaN", b'{"name": 1e999}', b"9" * 5_000, b"\x00\x01\x80"]
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")


def requests(schema, rng, count):
    """(method, path, keyword arguments) of random requests: some valid, some nearly so, some nonsense."""
    described = [(path, method, route) for path, of_path in schema["paths"].items() for method, route in of_path.items()]
    components = schema["components"]["schemas"]

    def value(of, depth=0):
        if rng.random() < 0.12 or depth > 6:
            return rng.choice(WORDS)
        if "$ref" in of:
            return value(components[of["$ref"].rsplit("/", 1)[1]], depth + 1)
        if "anyOf" in of:
            return value(rng.choice(of["anyOf"]), depth + 1)
        if "const" in of or "enum" in of:
            return of.get("const") or rng.choice(of["enum"])
        kind = of.get("type")
        if kind == "object" and "properties" in of:
            required = of.get("required", ())
            chosen = {k: v for k, v in of["properties"].items() if k in required or rng.random() < 0.3}
            entries = {
                k: rng.choice(USUAL[k]) if k in USUAL and rng.random() < 0.8 else value(v, depth + 1) for k, v in chosen.items()
            }
            return entries | ({"".join(rng.choices(string.printable, k=3)): 1} if rng.random() < 0.05 else {})
        if kind == "object":
            return rng.choice([w for w in WORDS if isinstance(w, dict)])
        if kind == "array":
            return [value(of.get("items", {}), depth + 1) for _ in range(rng.randrange(4))]
        if kind == "integer":
            return rng.choice([0, 1, 2, 5, 7, 95, 96, -1, 10**6])
        if kind == "number":
            return rng.choice([0.0, 0.25, 1.0, -1.0, 1e30, 50])
        return rng.choice([w for w in WORDS if isinstance(w, str)] + [encoded([[1] * 96] * 96)])

    for _ in range(count):
        path, method, route = rng.choice(described)
        path = path.replace("{identifier}", rng.choice(IDENTIFIERS))
        if rng.random() < 0.1:
            method = rng.choice(METHODS)
        query = {
            p["name"]: rng.choice(["0", "1", "-1", "x", "\x00", "9" * 30, "1e9", "ü"])
            for p in route.get("parameters", ())
            if p["in"] == "query" and rng.random() < 0.4
        }
        content = route.get("requestBody", {}).get("content", {})
        more = {}
        if "application/json" in content:
            kind = rng.random()
            if kind < 0.9:
                text = json.dumps(value(content["application/json"]["schema"]))
                more["content"] = text if kind < 0.8 else text[: rng.randrange(len(text) + 1)]
            else:
                more["content"] = rng.choice(BODIES)
            more["headers"] = {"Content-Type": rng.choice(["application/json"] * 9 + ["text/plain", "multipart/form-data", ""])}
        elif content:
            files = [("file", (rng.choice(["a.png", "../../x", "\x00", ""]), rng.randbytes(rng.randrange(200))))]
            more = {"files": files} if rng.random() < 0.7 else {"data": {"file": "x"}}
        yield method.upper(), path, {"params": query, **more}


def test_random_requests_get_answers_and_no_500(designed, client):
    schema = client.get("/openapi.json").json()
    client._transport.raise_server_exceptions = False
    statuses, rng = {}, random.Random(REQUESTS)
    for method, path, more in requests(schema, rng, REQUESTS):
        answer = client.request(method, path, **more)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        assert answer.status_code < 500, (answer.status_code, method, path, more, answer.text)
        if answer.status_code >= 400 and method != "HEAD" and answer.status_code != 405:
            assert isinstance(answer.json()["detail"], str)
    assert statuses.get(200, 0) > REQUESTS / 20, statuses
    assert client.get("/api/designs/new").status_code == 200
