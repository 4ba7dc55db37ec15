"""The command: what it prints, what it refuses; the page; and the schema that is committed."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from locations import ROOT
from typer.testing import CliRunner

from tf_lrp import cli
from tf_lrp.studio import openapi, page
from tf_lrp.studio.application import problem
from tf_lrp.studio.problems import ProblemError


def run(*arguments):
    return CliRunner().invoke(cli.app, ["studio", "--model", "shapes", "--no-browser", *arguments])


def test_the_committed_schema_is_up_to_date():
    """If not: python -m tf_lrp.studio.openapi studio/openapi.json, and in the folder studio, npm run types."""
    committed = json.loads((ROOT / "studio" / "openapi.json").read_text(encoding="utf-8"))
    current = json.loads(openapi.schema())
    assert committed["paths"] == current["paths"] and committed["components"] == current["components"]


def test_the_server_serves_before_tensorflow_is_loaded_and_ends_with_ctrl_c(tmp_path):
    options = ["--model", "shapes", "--no-browser", "--state", str(tmp_path / "state")]
    command = [sys.executable, "-m", "tf_lrp.cli", "studio", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = ""
        while "token=" not in said:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            said += line
        link = re.search(r"http://127\.0\.0\.1:\d+/\?token=([\w-]{32})", said)
        address, headers = link[0].partition("/?")[0], {"Authorization": f"Bearer {link[1]}"}
        session = httpx.get(f"{address}/api/session", headers=headers, timeout=30).json()
        assert session["state"] == "loading" and session["seconds"] < 20 and session["source"] == "shapes"
        assert "html" in httpx.get(link[0], timeout=30).text
        assert httpx.get(f"{address}/api/session", timeout=30).status_code == 401
        while session["state"] == "loading":
            time.sleep(0.3)
            session = httpx.get(f"{address}/api/session", headers=headers, timeout=30).json()
        assert session["state"] == "ready", session["error"]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in errors


def test_a_folder_or_port_that_cannot_be_used_is_said_in_one_line(tmp_path):
    import socket

    missing = run("--data", str(tmp_path / "nothing"))
    assert missing.exit_code == 2 and "there is none at" in missing.stderr and missing.stderr.count("\n") == 1
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = run("--state", str(tmp_path), "--port", str(taken.getsockname()[1]))
    assert busy.exit_code == 2 and "cannot listen" in busy.stderr and "--port" in busy.stderr


def test_without_its_packages_the_command_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("tf_lrp.studio")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    answer = run()
    assert answer.exit_code == 2 and 'pip install "tf_lrp[studio]"' in answer.stderr


def test_the_application_imports_no_tensorflow():
    code = "import sys; from tf_lrp.studio import application; print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["False", "False"]


def test_each_model_has_a_folder_of_its_own(tmp_path, monkeypatch):
    from tf_lrp.cli import studio

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.keras").touch()
    texts = ("shapes", str(tmp_path / "one/model.keras"), str(tmp_path / "two/model.keras"), "../x")
    folders = [studio.state_folder(text) for text in texts]
    assert len(set(folders)) == 4 and folders[0].name == "shapes"
    assert all(Path(tmp_path) in folder.parents and ".." not in folder.parts for folder in folders)


@pytest.mark.parametrize("built", [False, True])
def test_the_page_is_served_or_said_to_be_missing(tmp_path, built):
    from askable import TestClient

    if built:
        (tmp_path / "assets").mkdir()
        (tmp_path / "index.html").write_text("<p>built</p>")
        (tmp_path / "assets" / "a.js").write_text("1")
    application = FastAPI()
    page.add(application, tmp_path)
    application.add_exception_handler(ProblemError, problem)
    with TestClient(application) as client:
        assert ("built</p>" in client.get("/").text) == built and ("make studio" in client.get("/").text) != built
        assert client.get("/assets/a.js").status_code == (200 if built else 404)
