"""`tf-lrp studio`: relevance designed in the browser."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from tf_lrp.cli.options import ClassNames, Model, Preprocess, Size, Weights
from tf_lrp.cli.terminal import USAGE, Debug, app, complain, console_of, errors_end_the_command, write_line

#: The first port that is tried where none is named, and how many.
_PORT, _PORTS = 8753, 50


@app.command()
def studio(
    model: Model,
    weights: Weights = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            "-d",
            metavar="FOLDER",
            help="Pictures for the gallery; for models of signals or texts, files .npy or .csv.",
            show_default=False,
        ),
    ] = None,
    classes: ClassNames = None,
    preprocess: Preprocess = None,
    size: Size = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, metavar="N", help=f"By default the first free one from {_PORT}.", show_default=False),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen at. Any other than this machine's own (127.0.0.1) opens the studio to the network, "
            "unencrypted: whoever has the link can use it.",
        ),
    ] = "127.0.0.1",
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where your models and uploads are kept; by default a folder of its own for each --model.",
            show_default=False,
        ),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
    debug: Debug = False,
):
    """Design rules, presets and experiments in the browser, on this machine.

    The link with its token is printed: whoever has it can use the studio. Ctrl+C ends it; what was made is kept.
    """
    with errors_end_the_command(debug):
        if data is not None and not data.is_dir():
            raise ValueError(f"--data names a folder of pictures, and there is none at {str(data)!r}.")
        try:
            import uvicorn

            from tf_lrp.studio import application
            from tf_lrp.studio.studio import Settings, Studio
        except ModuleNotFoundError as error:
            raise ImportError(
                f'The studio needs packages that are not installed ({error.name}): pip install "tf_lrp[studio]".'
            ) from error
        folder = state_folder(model) if state is None else state
        folder.mkdir(parents=True, exist_ok=True)
        listening, address = _listen(host, port)
        token = secrets.token_urlsafe(24)
        served = Studio(Settings(model, folder, weights, classes, preprocess, size, data))
        created = application.create(served, token, host, address)
        failed = []
        served.on_failure = lambda message: failed.append(complain(message, False))
        server = uvicorn.Server(
            uvicorn.Config(
                created, log_level="warning", access_log=False, server_header=False, ws="none", timeout_graceful_shutdown=2
            )
        )
    shown = host if host not in ("0.0.0.0", "::") else "127.0.0.1"
    link = f"http://{f'[{shown}]' if ':' in shown else shown}:{address}/?token={token}"
    console = console_of()
    write_line(console, f"The studio for {model} is at\n\n    {link}\n", style="bold")
    if not _is_own(host):
        write_line(console, "It can be reached from the network, unencrypted: whoever has the link can use it.", style="yellow")
    write_line(console, f"What you make is kept in {folder}. Ctrl+C ends the studio.")
    if browser:
        webbrowser.open(link)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        listening.close()
    if failed:
        raise typer.Exit(USAGE)


def state_folder(model):
    """A folder of this person's for a model: what is made fits its layers."""
    import platformdirs

    from tf_lrp.runs.fingerprints import digest

    path = Path(model)
    mark = f"-{digest([str(path.resolve()).encode('utf-8', 'surrogateescape')])[:8]}" if path.exists() else ""
    name = re.sub(r"[^\w.-]+", "_", path.stem if path.exists() else model).strip("._")[:60]
    return platformdirs.user_state_path("tf-lrp", appauthor=False) / "studio" / f"{name or 'model'}{mark}"


def _listen(host, port):
    """(a socket that listens, its port).

    Raises:
        OSError: no port is free, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = range(_PORT, _PORT + _PORTS) if port is None else [port]
    problem = None
    for each in ports:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, each))
            listening.listen(128)
            return listening, each
        except OSError as error:
            listening.close()
            problem = error
    wanted = f"port {port}" if port else f"the ports {ports[0]} to {ports[-1]}"
    raise OSError(f"The studio cannot listen at {host}, {wanted}: {problem}. Name another --port or --host.")


def _is_own(host):
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
