"""What all commands share: the terminal, errors, TensorFlow imported without its chatter."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

app = typer.Typer(
    name="tf-lrp",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Layer-wise relevance propagation for Keras models: which pixels speak for a class, and which against it.",
)

SOME_FAILED, USAGE = 1, 2  # exit codes

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def import_tensorflow():
    """Imports TensorFlow without its chatter, in this process only; does nothing where it is imported already."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Its first lines are written before it reads that setting, past Python, to the file descriptor of stderr.
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow

            tensorflow.get_logger().setLevel("ERROR")
        except BaseException:
            os.dup2(stderr, 2)
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextmanager
def errors_end_the_command(debug):
    """What the user got wrong, and what we did: one red line, then the exit code."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        complain(str(error), debug)
        raise typer.Exit(USAGE) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        hint = "; try a smaller --batch-size" if type(error).__name__ == "ResourceExhaustedError" else ""
        complain(f"{type(error).__name__}{hint}: {error} (--debug shows where)", debug)
        raise typer.Exit(SOME_FAILED) from None


def complain(message, debug):
    """One red line on stderr, below the traceback if that is wanted; to be called where the error is caught."""
    if debug:
        traceback.print_exc()
    write_line(console_of(stderr=True), " ".join(message.split()), style="red")


def console_of(stderr=False):
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 140)  # for files and pipes: nothing is wrapped that need not be
    return console


def write_line(console, text, style=""):
    """Text as it is: without markup, never wrapped by us."""
    console.print(Text(text, style), soft_wrap=True)
