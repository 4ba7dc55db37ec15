"""Networks as the toolbox pickles them (.nn, .pickle), without running anything that a file asks for.

A pickle can name any function, and unpickling calls it. Here every name of a file stands for a small class of this module,
which only notes what it was given; names that no network of the toolbox has are refused. So a file can build nothing but
these notes, strings, numbers, lists and dicts, and an array is made of a note once its size is known to be that of its bytes.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_lrp.messages.checks import is_integer
from tf_lrp.toolbox.records import SIZES, Record

#: What pickles of networks consist of. Left out are, above all, the opcodes of persistent ids and of registered extensions.
_OPCODES = frozenset(
    [
        "PROTO",
        "FRAME",
        "STOP",
        "MARK",
        "POP",
        "POP_MARK",
        "DUP",
        "MEMOIZE",
        "PUT",
        "BINPUT",
        "LONG_BINPUT",
        "GET",
        "BINGET",
        "LONG_BINGET",
        "NONE",
        "NEWTRUE",
        "NEWFALSE",
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
        "UNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE",
        "BINUNICODE8",
        "EMPTY_LIST",
        "LIST",
        "APPEND",
        "APPENDS",
        "EMPTY_TUPLE",
        "TUPLE",
        "TUPLE1",
        "TUPLE2",
        "TUPLE3",
        "EMPTY_DICT",
        "DICT",
        "SETITEM",
        "SETITEMS",
        "GLOBAL",
        "STACK_GLOBAL",
        "INST",
        "OBJ",
        "NEWOBJ",
        "REDUCE",
        "BUILD",
    ]
)
#: A network of a thousand modules has fewer tuples; more of them can be nested too deeply for Python's own comparisons.
_MOST_TUPLES = 10_000


class _Note:
    """What a file said of an object: what it was made with, and the state that it was given."""

    def __new__(cls, *arguments):
        note = object.__new__(cls)
        note.arguments, note.state = arguments, None
        return note

    def __setstate__(self, state):
        self.state = state


class _Module(_Note):
    """A module; each has a subclass of its own."""

    module = ""

    def attribute(self, name):
        """A value of the object's state."""
        if not isinstance(self.state, dict) or name not in self.state:
            raise ValueError(f"its {self.module} has no {name}")
        return self.state[name]


class _Base(_Note):
    """Python's own ``object``."""


class _DType(_Note):
    """The type of an array: ``dtype("f8", ...)``, whose state holds the order of bytes."""

    def dtype(self):
        name = self.arguments[0] if self.arguments else None
        if not isinstance(name, str) or name not in _TYPES:
            raise ValueError(f"its arrays have the type {str(name)[:20]!r}; expected {', '.join(_TYPES)}")
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "|"
        if order not in ("<", ">", "|", "="):
            raise ValueError("the order of bytes of an array is none of < > | =")
        return np.dtype(name).newbyteorder(order)


_TYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class _ArrayClass(_Note):
    """``numpy.ndarray``, which is only named."""


class _Array(_Note):
    """An array without its contents, which come as its state: (version, shape, type, whether in Fortran's order, bytes)."""

    def array(self):
        state = self.state
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise ValueError("an array is without its contents")
        shape, dtype, fortran, content = state[-4:]
        return _array(shape, dtype, content, "F" if fortran else "C")


class _ArrayFromBuffer(_Note):
    """The same in one step, as protocol 5 has it: (bytes, type, shape, order)."""

    def array(self):
        if len(self.arguments) != 4:
            raise ValueError("an array is without its contents")
        content, dtype, shape, order = self.arguments
        return _array(shape, dtype, content, "F" if order == "F" else "C")


class _Scalar(_Note):
    """A number of NumPy's: (type, bytes)."""

    def array(self):
        if len(self.arguments) != 2:
            raise ValueError("a number is without its value")
        return _array((), *self.arguments, "C")


class _Encoded:
    """Bytes, as Python 3 wrote them for Python 2: ``_codecs.encode(text, "latin1")``."""

    def __new__(cls, text="", encoding="latin1"):
        if encoding not in ("latin1", "latin-1"):
            raise ValueError("bytes are encoded in latin1")
        return text.encode("latin1")


class _Reconstructed:
    """An object as protocols 0 and 1 have it: ``copyreg._reconstructor(class, object, None)``."""

    def __new__(cls, kind, base=None, state=None):
        if not (isinstance(kind, type) and issubclass(kind, _Module)):
            raise ValueError("an object is no module of the toolbox")
        return kind()


_MODULES = {name: type(name, (_Module,), {"module": name}) for name in ("Sequential", *SIZES)}

#: (module, name) -> the class that stands for it. The toolbox had its classes in one file first, and then in one file each.
_CLASSES: dict[tuple[str, str], Any] = {
    **{(place, name): note for name, note in _MODULES.items() for place in ("modules", f"modules.{name.lower()}")},
    **{(place, "object"): _Base for place in ("builtins", "__builtin__")},
    **{(place, "_reconstructor"): _Reconstructed for place in ("copyreg", "copy_reg")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _ArrayFromBuffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _Encoded,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _CLASSES:
            raise ValueError(f"it asks for {f'{module}.{name}'[:100]!r}, which is no part of a network of the toolbox")
        return _CLASSES[module, name]

    def persistent_load(self, pid):
        raise ValueError("it refers to objects outside the file")


def read(data: bytes) -> list[Record]:
    """The modules of a pickled network, with the decompositions that were set for them.

    Raises:
        ValueError: if it holds anything else, or is damaged.
    """
    try:
        _check_opcodes(data)
        # Strings of Python 2 become text, whatever they hold: the contents of arrays are among them.
        network = _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise nearly any
        raise ValueError(str(error) or type(error).__name__) from None
    if not isinstance(network, _Module) or network.module != "Sequential":
        raise ValueError("it holds no Sequential")
    modules = network.attribute("modules")
    if not isinstance(modules, (list, tuple)) or not modules:
        raise ValueError("its Sequential has no modules")
    return [_record(module) for module in modules]


def _check_opcodes(data):
    """Raises ValueError for opcodes that no network needs, and for those that make the unpickler reserve memory."""
    tuples = 0
    # Strings of Python 2 with escaped bytes are no text for pickletools; where an opcode begins and ends does not change.
    for opcode, argument, _ in pickletools.genops(data.replace(b"\\x", b"_x")):
        if opcode.name not in _OPCODES:
            raise ValueError(f"it uses {opcode.name}, which no network of the toolbox needs")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= argument <= len(data):
            raise ValueError("it numbers more objects than it can hold")
        tuples += opcode.name.startswith("TUPLE")
    if tuples > _MOST_TUPLES:
        raise ValueError(f"it holds more than {_MOST_TUPLES} tuples")


def _array(shape, dtype, content, order):
    """The array of some bytes, as float64."""
    if not isinstance(dtype, _DType):
        raise ValueError("an array has no type")
    dtype = dtype.dtype()
    if isinstance(content, str):
        content = content.encode("latin1")
    if not (isinstance(shape, tuple) and all(is_integer(size) and size >= 0 for size in shape)):
        raise ValueError("the shape of an array is no tuple of numbers")
    if not isinstance(content, (bytes, bytearray)) or len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"the contents of an array do not have the size of its shape {shape}"[:200])
    return np.frombuffer(bytes(content), dtype).astype(np.float64).reshape(shape, order=order)


def _record(module):
    if not isinstance(module, _Module) or module.module not in SIZES:
        raise ValueError("its Sequential holds something that is no module")
    name, weights, biases = module.module, None, None
    sizes = ()
    if name in ("Linear", "Convolution"):
        weights, biases = (_weights(module, label) for label in "WB")
        biases, sizes = biases.reshape(-1), weights.shape  # biases are (n,) or (1, n)
    if name in ("SumPool", "MaxPool"):
        sizes = _pair(module, "pool")
    if name in ("Convolution", "SumPool", "MaxPool"):
        sizes = (*sizes, *_pair(module, "stride"))
    return Record(name, sizes, weights, biases, *_decomposition(module.state if isinstance(module.state, dict) else {}))


def _weights(module, label):
    array = module.attribute(label)
    if not isinstance(array, (_Array, _ArrayFromBuffer)):
        raise ValueError(f"{label} of its {module.module} is no array of NumPy")
    return array.array()


def _pair(module, label):
    pair = module.attribute(label)
    pair = [_number(value) for value in pair] if isinstance(pair, (list, tuple)) and len(pair) == 2 else [None]
    if any(value is None or value != int(value) for value in pair):
        raise ValueError(f"{label} of its {module.module} is no pair of whole numbers")
    return tuple(map(int, pair))


def _number(value):
    """A finite number as such; None for anything else."""
    if isinstance(value, _Scalar):
        value = value.array().item()
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**53
    return value if is_number else None


def _decomposition(state):
    lrp_var, lrp_param = state.get("lrp_var"), _number(state.get("lrp_param"))
    return (lrp_var, lrp_param) if isinstance(lrp_var, str) else (None, None)


# ---- writing --------------------------------------------------------------------------------------------------------

_PROTOCOL = 3  # the first of Python 3, in which the toolbox's last version is written


def write(records: Sequence[Record]) -> bytes:
    """A pickle that the toolbox's own Python code reads: its classes, by name, with their attributes."""
    modules = [_instance(record.name, _attributes(record)) for record in records]
    network = _instance("Sequential", {"modules": b"](" + b"".join(modules) + b"e", "lrp_var": None, "lrp_param": 1.0})
    return pickle.PROTO + bytes([_PROTOCOL]) + network + pickle.STOP


def _attributes(record):
    found: dict[str, Any] = {"lrp_var": record.lrp_var, "lrp_param": 1.0 if record.lrp_param is None else record.lrp_param}
    if record.weights is not None:
        *fan_in, n = record.weights.shape
        found |= dict(zip(("m",) if len(fan_in) == 1 else ("fh", "fw", "fd"), fan_in, strict=True))
        found |= {"n": n, "W": record.weights, "B": record.biases}
    if record.name in ("SumPool", "MaxPool"):
        found["pool"] = record.sizes[:2]
    if record.name in ("Convolution", "SumPool", "MaxPool"):
        found["stride"] = record.sizes[-2:]
    return found


def _instance(name, attributes):
    """The opcodes of an object; attributes in bytes are opcodes already."""
    state = b"".join(
        _opcodes(key) + (value if isinstance(value, bytes) else _opcodes(value)) for key, value in attributes.items()
    )
    return f"cmodules.{name.lower()}\n{name}\n".encode() + b")\x81}(" + state + b"ub"


def _opcodes(value):
    """The opcodes of a value, without those that begin and end a pickle."""
    opcodes = pickle.dumps(value, _PROTOCOL)[2:-1]
    # NumPy 2 calls this module otherwise, and reads both names; NumPy 1 knows only this one.
    return opcodes.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)
