"""No class collects the state of the whole program: its public mutable attributes are few."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from orchestrator.core.paths import PACKAGE

MAX_MUTABLE_ATTRIBUTES = 15

CONTAINERS = ("dict", "list", "set", "deque", "defaultdict", "Counter")

TREES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
CLASSES = [
    (str(path.relative_to(PACKAGE)), node)
    for path, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef)
]


def _is_frozen(node: ast.ClassDef) -> bool:
    calls = [each for each in node.decorator_list if isinstance(each, ast.Call)]
    keywords = [*node.keywords, *(keyword for call in calls for keyword in call.keywords)]
    return any(
        keyword.arg == "frozen" and ast.unparse(keyword.value) == "True" for keyword in keywords
    )


def _fields(node: ast.ClassDef) -> set[str]:
    """Fields of a record that can be assigned; a plain class has none."""
    return {
        each.target.id
        for each in node.body
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Name)
        and not ast.unparse(each.annotation).startswith(("ClassVar", "Final"))
    }


def _stores(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]


def _constructors(node: ast.ClassDef) -> set[str]:
    """Names of `__init__` and of the methods that it calls on the new object."""
    calls = [
        call.func
        for method in _methods(node)
        if method.name == "__init__"
        for call in ast.walk(method)
        if isinstance(call, ast.Call)
    ]
    return {"__init__"} | {
        call.attr
        for call in calls
        if isinstance(call, ast.Attribute) and ast.unparse(call.value) == "self"
    }


def _assigned_after_construction() -> set[str]:
    """Names of attributes that are assigned outside of constructors, in any class or function."""
    built = {
        id(method)
        for _, node in CLASSES
        for method in _methods(node)
        if method.name in _constructors(node)
    }
    functions = [
        node
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and id(node) not in built
    ]
    return {name for function in functions for name in _stores(function)}


ASSIGNED_LATER = _assigned_after_construction()


def _holds_container(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).split("[")[0] in CONTAINERS
    return isinstance(value, ast.Dict | ast.List | ast.Set)


def _mutable_attributes(node: ast.ClassDef) -> set[str]:
    """Public attributes that are assigned after construction, or hold a container."""
    found = set() if _is_frozen(node) else _fields(node)
    for method in _methods(node):
        if method.name not in _constructors(node):
            found |= set(_stores(method))
            continue
        for statement in method.body:
            names = set(_stores(statement))
            found |= names if _holds_container(statement) else names & ASSIGNED_LATER
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize(
    ("path", "node"), CLASSES, ids=[f"{path}:{node.name}" for path, node in CLASSES]
)
def test_a_class_has_few_public_mutable_attributes(path: str, node: ast.ClassDef) -> None:
    names = _mutable_attributes(node)
    assert len(names) <= MAX_MUTABLE_ATTRIBUTES, f"{path} {node.name}: {sorted(names)}"


def test_the_count_finds_what_it_looks_for() -> None:
    source = "class Wide:\n    def grow(self):\n" + "".join(
        f"        self.field_{number} = {number}\n" for number in range(16)
    )
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.ClassDef)
    assert len(_mutable_attributes(node)) == 16
