"""The page of the studio: its built files, the tests of its state, and its scenes in a real browser."""

import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from locations import ROOT

SOURCE = ROOT / "studio"
PAGE = ROOT / "tf_lrp" / "studio" / "page"
#: Bytes that the built page may have.
MOST = 500_000


def _chromium():
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def _node(*arguments, **environment):
    if shutil.which("node") is None or not (SOURCE / "node_modules" / ".package-lock.json").is_file():
        pytest.skip("the page's tests need Node 20 and its packages: make studio")
    command = ["node", *arguments]
    run = subprocess.run(
        command, cwd=SOURCE, env=os.environ | environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert run.returncode == 0, f"{run.stdout[-8000:]}\n{run.stderr[-2000:]}"
    return run.stdout


def test_the_built_page_is_small_and_whole():
    files = [path for path in PAGE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    named = re.findall(r'(?:src|href)="\./([^"]+)"', index)
    assert len(named) >= 3
    assert all((PAGE / name).is_file() for name in named)


def test_the_built_page_names_no_other_server():
    """What looks like an address names a vocabulary of XML, or stands in a message of Svelte."""
    for path in PAGE.rglob("*"):
        if path.suffix in (".js", ".css", ".html"):
            hosts = set(re.findall(r"https?://([\w.-]+)", path.read_text(encoding="utf-8")))
            assert hosts <= {"www.w3.org", "svelte.dev"}, path


def test_the_state_of_the_page():
    _node("node_modules/vitest/vitest.mjs", "run")


@contextmanager
def _studio(folder, *arguments):
    """The link of a studio on these arguments."""
    pytest.importorskip("fastapi", reason='the studio needs its packages: pip install "tf_lrp[studio]"')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tf_lrp.cli", "studio", *arguments, "--no-browser", "--port", str(port)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    server = subprocess.Popen([*command, "--state", str(folder)], cwd=ROOT, env=environment, **pipes)
    try:
        seen = []
        for line in server.stdout:
            seen.append(line)
            if link := re.search(r"http://\S+token=\S+", line):
                break
        else:
            raise AssertionError("".join(seen))
        yield link.group()
    finally:
        server.terminate()
        server.communicate(timeout=60)


def _scenes(folder, link, model, *files):
    chromium = _chromium()
    if chromium is None:
        pytest.skip("the page's scenes need a browser: apt-get install chromium")
    _node(
        "node_modules/@playwright/test/cli.js",
        "test",
        *files,
        STUDIO_URL=link,
        STUDIO_MODEL=model,
        STUDIO_OUT=str(folder / "results"),
        CHROMIUM=chromium,
        CI="1",
    )


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    if _chromium() is None:
        pytest.skip("the page's scenes need a browser: apt-get install chromium")
    with _studio(tmp_path_factory.mktemp("studio"), "--model", "shapes") as link:
        yield link


@pytest.mark.slow
@pytest.mark.parametrize("scenes", ["design", "analysis", "beyond", "cases"])
def test_scenes_on_the_shapes_network(scenes, shapes, tmp_path):
    _scenes(tmp_path, shapes, "shapes", f"scenes/{scenes}.spec.ts")


@pytest.mark.slow
def test_scenes_on_squeezenet(shared_data, tmp_path):
    """The guide's cases on photographs: rules compared, segments, pixels flipped, neurons ablated, a class among 1,000."""
    if _chromium() is None:
        pytest.skip("the page's scenes need a browser: apt-get install chromium")
    data = shared_data / "imagenet"
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for path in sorted(Path(data / "images").glob("*.jpg"))[:6]:
        shutil.copy(path, pictures / path.name)
    weights = str(data / "squeezenet_v1_1.weights.npz")
    named = ("--weights", weights, "--classes", str(data / "imagenet_class_index.json"))
    with _studio(tmp_path / "state", "--model", "squeezenet", *named, "--data", str(pictures)) as link:
        _scenes(tmp_path, link, "squeezenet", "scenes/design.spec.ts", "scenes/analysis.spec.ts", "scenes/cases.spec.ts")
