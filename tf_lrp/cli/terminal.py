"""What all commands share: the terminal, errors, TensorFlow imported without its chatter.

Names of layers, classes and files are other people's text, and a terminal obeys what it finds in text. All output goes through
`console_of`, `write_line` or `complain`, which show control characters instead of sending them.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import traceback
import warnings
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.segment import Segment
from rich.text import Text
from typer.core import TyperGroup

from tf_lrp.messages.tables import printable


class _Commands(TyperGroup):
    """The commands. Errors about their options are shown without the control characters that arguments may hold."""

    def make_context(self, *args, **kwargs):
        with _printable_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx):
        with _printable_errors():
            return super().invoke(ctx)


@contextmanager
def _printable_errors():
    try:
        yield
    except Exception as error:
        for name in ("message", "option_name"):  # of the errors that Typer shows
            if isinstance(getattr(error, name, None), str):
                setattr(error, name, printable(getattr(error, name)))
        raise


app = typer.Typer(
    name="tf-lrp",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Layer-wise relevance propagation for Keras models: which pixels contribute to a class, and which against it.",
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
    """What the user got wrong, and what we did: one red line, then the exit code. Warnings: one yellow line each."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
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


def _warn(message, category, filename, lineno, file=None, line=None):
    write_line(console_of(stderr=True), " ".join(f"{category.__name__}: {message}".split()), style="yellow")


def complain(message, debug):
    """One red line on stderr, below the traceback if that is wanted; to be called where the error is caught."""
    console = console_of(stderr=True)
    if debug:
        write_line(console, traceback.format_exc().rstrip())
    message = _STYLES.sub("", message)
    write_line(console, " ".join(message.split()), style="red")


#: Keras sets parts of its errors in bold.
_STYLES = re.compile(r"\x1b\[[0-9;]*m")


class _Console(Console):
    """A console that shows the control characters of what it is given, and sends none but its own."""

    def render(self, renderable, options=None):
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def console_of(stderr=False):
    console = _Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, 140)  # for files and pipes: nothing is wrapped that need not be
    return console


def write_line(console, text, style=""):
    """Text as it is: without markup, never wrapped by us."""
    console.print(Text(printable(text), style), soft_wrap=True)
