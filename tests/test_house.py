"""The house keeps its order: rooms depend one way, modules are short, and none uses another's private names."""

import ast
from pathlib import Path

import pytest
from locations import ROOT

import tf_lrp

MODULES = sorted(path for room in ("tf_lrp", "model_zoo") for path in (ROOT / room).rglob("*.py"))

#: Modules longer than this hold two things.
LONGEST = 420

#: The core, and what uses it. The core may not import from its uses.
CORE = ("rules", "affine", "twins", "graph", "keras_compat")
USES = ("explain", "methods", "evaluation", "tuning", "data", "export", "cli", "vision", "integrations", "studio")

#: Public methods of the standard library that begin with an underscore.
PUBLIC_IN_PYTHON = {"_asdict", "_fields", "_make", "_replace"}


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def private_uses(tree):
    """Text "name (line)" of every attribute with an underscore that is not the module's own."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))}
    own |= {
        target.attr
        for node in ast.walk(tree)
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        for target in (target.elts if isinstance(target, ast.Tuple) else [target])
        if isinstance(target, ast.Attribute) and is_own(target.value)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if is_private(alias.name):
                    yield f"{alias.name} of {node.module} ({node.lineno})"
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and not is_own(node.value) and node.attr not in own:
            yield f"{ast.unparse(node)} ({node.lineno})"


def is_own(node):
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC_IN_PYTHON


def imports(tree):
    """Dotted names that a module imports, with those of ``from package import module``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.fixture(scope="module")
def trees():
    return {path.relative_to(ROOT).as_posix(): tree_of(path) for path in MODULES}


def test_no_module_uses_private_names_of_another(trees):
    found = [f"{path}: {use}" for path, tree in trees.items() if "/keras_compat/" not in path for use in private_uses(tree)]
    assert not found, "\n".join(found)


def test_the_core_imports_none_of_its_uses(trees):
    core = {path: tree for path, tree in trees.items() if path.split("/")[1].removesuffix(".py") in CORE}
    assert {path.split("/")[1].removesuffix(".py") for path in core} == set(CORE)
    found = [
        f"{path} imports {name}"
        for path, tree in core.items()
        for name in imports(tree)
        if name.startswith("tf_lrp.") and name.split(".")[1] in USES
    ]
    assert not found, "\n".join(found)


def test_no_module_holds_two_things(trees):
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in trees}
    found = [f"{path}: {length} lines" for path, length in lengths.items() if length > LONGEST]
    assert not found, "\n".join(found)


def test_modules_are_not_renamed_to_letters_that_mean_something_else(trees):
    """R is relevance, K and L are numbers."""
    found = [
        f"{path}: {alias.name} as {alias.asname}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
        if alias.asname in ("K", "L", "R")
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("package", [tf_lrp, tf_lrp.evaluation, tf_lrp.methods], ids=lambda package: package.__name__)
def test_editors_see_the_lazy_names(package):
    """The block for type checkers in an __init__.py holds the names that `__getattr__` imports, and the same things."""
    tree = tree_of(Path(package.__file__))
    (block,) = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    names = {alias.asname or alias.name for node in block.body for alias in node.names}
    assert names == set(package.__all__)
    imported = {}
    exec(compile(ast.Module(block.body, []), package.__file__, "exec"), imported)
    assert {name for name in names if imported[name] is not getattr(package, name)} == set()


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "tf_lrp" / "py.typed").is_file()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("x = analyzer._twin", ["analyzer._twin (1)"]),
        ("from tf_lrp.graph import _walk", ["_walk of tf_lrp.graph (1)"]),
        ("class A:\n    def f(self, other):\n        self._x = 1\n        return other._x + self._y", []),
        ("def _f():\n    pass\nmodule._f", []),
        ("point._asdict()", []),
    ],
)
def test_private_names_are_found(code, found):
    assert list(private_uses(ast.parse(code))) == found
