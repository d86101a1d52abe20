"""The documentation in Python sources, by `ast`: modules, classes, functions and methods, with the names that people use for them.

Rules: a documented thing gives a passage of its documentation; a public class or function without one gives a passage of its first
lines of source, since that is all there is to read. What a package takes over from its private parts is named as the package names it
(`asyncio.TaskGroup`, not `asyncio.taskgroups.TaskGroup`).

Pure: no files, no clock. Nothing is imported or executed from the sources that it reads.
"""

import ast
import gc
import inspect
import os.path
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from runcast.cli.demo_agent.passage import Passage

SIGNATURE_LINES_MAX: Final = 8
"""Lines of a signature that are kept."""
SOURCE_LINES_MAX: Final = 48
"""Lines of source kept of a public thing without documentation."""
HINT_NAMES_MAX: Final = 80
"""Names of members that a module's or class's passage is also found by."""

_METHOD_PRIOR = 0.85
_UNDOCUMENTED_PRIOR = 0.75
_PRIVATE_PRIOR = 0.45
_SPECIAL_PRIOR = 0.6

_DEFINITIONS: Final = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class ModuleText:
    """What one source file holds.

    Attributes:
        name: the module's dotted name.
        passages: named within the module only (`TaskGroup.create_task`; the module itself is `""`).
        public: the names in `__all__`, or None when it has none that can be read without running it.
        taken: what it takes over: (module, name or `*`, name here).
    """

    name: str
    passages: tuple[Passage, ...]
    public: frozenset[str] | None
    taken: tuple[tuple[str, str, str], ...]


def module_name(file: str) -> str:
    """The dotted name of a source file, by its path: `json/__init__.py` is `json`."""
    parts = file.removesuffix(".py").split("/")
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return ".".join(parts)


def _parse(source: str) -> ast.Module:
    """`ast.parse`, without garbage collection in its midst: in CPython 3.11 a finalizer that runs there breaks it with a SystemError."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if collecting:
            gc.enable()


def passages_of_module(file: str, source: str) -> ModuleText | None:
    """Read one source file.

    Args:
        file: path relative to the root of the import path, with `/`.
        source: its text, with line feeds for line breaks.

    Returns:
        None when it is not valid source for this interpreter.
    """
    try:
        tree = _parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None
    name = module_name(file)
    lines = source.split("\n")
    package = name if file.endswith("__init__.py") else name.rpartition(".")[0]
    passages: list[Passage] = []
    taken: list[tuple[str, str, str]] = []
    public: set[str] = set()
    tops: list[str] = []
    for node in _statements(tree.body):
        if isinstance(node, _DEFINITIONS):
            tops.append(node.name)
            passages.extend(_passages_of_definition(file, lines, node, ""))
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(package, node)
            taken.extend((origin, alias.name, alias.asname or alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            taken.extend((alias.name, "", alias.asname) for alias in node.names if alias.asname)
        elif (other := _stand_in(node)) is not None:
            taken.append((other, "*", "*"))
        else:
            public.update(_names_of_all(node))
    own = _documentation(file, lines, tree) or _assigned_documentation(file, tree)
    if own is not None:
        shown = [top for top in tops if not top.startswith("_")]
        passages.insert(0, replace(own, hint=" ".join(shown[:HINT_NAMES_MAX])))
    return ModuleText(name, tuple(passages), frozenset(public) or None, tuple(taken))


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a block, those under `if` and `try` included."""
    for node in body:
        if isinstance(node, ast.If):
            yield from _statements(node.body)
            yield from _statements(node.orelse)
        elif isinstance(node, ast.Try):
            yield from _statements(node.body)
            for handler in node.handlers:
                yield from _statements(handler.body)
            yield from _statements(node.orelse)
        else:
            yield node


def _origin(package: str, node: ast.ImportFrom) -> str:
    """The absolute module that a `from ... import` names."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, node.module] if node.module else parts)


def _names_of_all(node: ast.stmt) -> Iterator[str]:
    """The names that a statement puts into `__all__`, as far as they are written out."""
    if isinstance(node, ast.Assign):
        targets: list[ast.expr] = node.targets
    elif isinstance(node, ast.AugAssign):
        targets = [node.target]
    else:
        return
    if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
        for item in ast.walk(node.value):
            if isinstance(item, ast.Constant) and isinstance(item.value, str):
                yield item.value


def _passages_of_definition(
    file: str, lines: list[str], node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, owner: str
) -> Iterator[Passage]:
    """The passages of a class or function and, for a class, of its members."""
    name = f"{owner}.{node.name}" if owner else node.name
    private = node.name.startswith("_")
    kind = "class" if isinstance(node, ast.ClassDef) else "method" if owner else "function"
    signature = _signature(lines, node)
    found = _documentation(file, lines, node, name=name, kind=kind, signature=signature)
    if found is None and kind != "method" and not private and not owner:
        end = min(node.end_lineno or node.lineno, node.lineno + SOURCE_LINES_MAX - 1)
        text = textwrap.dedent("\n".join(lines[node.lineno - 1 : end])).rstrip()
        found = Passage(
            file, node.lineno, end, node.lineno, name, kind, signature, text, (name,), prior=_UNDOCUMENTED_PRIOR, documented=False
        )
    members = list(_statements(node.body)) if isinstance(node, ast.ClassDef) else []
    if found is not None:
        shown = [member.name for member in members if isinstance(member, _DEFINITIONS) and not member.name.startswith("_")]
        prior = found.prior * (_METHOD_PRIOR if kind == "method" else 1.0)
        if node.name.startswith("__") and node.name.endswith("__"):
            prior *= _SPECIAL_PRIOR
        elif private:
            prior *= _PRIVATE_PRIOR
        yield replace(found, hint=" ".join(shown[:HINT_NAMES_MAX]), prior=prior)
    for member in members:
        if isinstance(member, _DEFINITIONS):
            yield from _passages_of_definition(file, lines, member, name)


def _signature(lines: list[str], node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The source from `def` or `class` to before the body; for a class that of its `__init__` too."""
    last = node.body[0].lineno - 1
    end = max(node.lineno, min(last, node.lineno + SIGNATURE_LINES_MAX - 1))
    kept = []
    for line in lines[node.lineno - 1 : end]:
        if line.lstrip().startswith(("#", "@")):
            break
        kept.append(line)
    text = textwrap.dedent("\n".join(kept)).rstrip()
    if isinstance(node, ast.ClassDef):
        for member in node.body:
            if isinstance(member, ast.FunctionDef) and member.name == "__init__":
                inner = _signature(lines, member).replace("\n", "\n    ")
                return f"{text}\n    {inner}"
    return text


def _documentation(
    file: str,
    lines: list[str],
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
    *,
    name: str = "",
    kind: str = "module",
    signature: str = "",
) -> Passage | None:
    """The passage of a node's documentation string; None when it has none."""
    first = node.body[0] if node.body else None
    if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)):
        return None
    raw = first.value.value
    text = inspect.cleandoc(raw)
    if not text:
        return None
    blank = 0
    for raw_line in raw.split("\n"):
        if raw_line.strip():
            break
        blank += 1
    # A string that opens with a line continuation has its first line on the next one.
    opening = lines[first.lineno - 1].rstrip()
    begin = first.lineno + blank + opening.endswith(('"""\\', "'''\\"))
    end = first.end_lineno or first.lineno
    line = first.lineno if isinstance(node, ast.Module) else node.lineno
    return Passage(file, line, end, min(begin, end), name, kind, signature, text, (name,))


def _assigned_documentation(file: str, tree: ast.Module) -> Passage | None:
    """The passage of `__doc__ = "..."`, which some modules have because a comment comes first."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__doc__":
            if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) and node.value.value.strip():
                text = inspect.cleandoc(node.value.value)
                return Passage(file, node.lineno, node.end_lineno or node.lineno, node.lineno, "", "module", "", text, ("",))
            return None
    return None


def _stand_in(node: ast.stmt) -> str | None:
    """The module that a module puts in its own place, as `collections.abc` does since Python 3.13."""
    match node:
        case ast.Assign(
            targets=[
                ast.Subscript(value=ast.Attribute(value=ast.Name(id="sys"), attr="modules"), slice=ast.Name(id="__name__")),
            ],
            value=ast.Name(id=other),
        ):
            return other
    return None


def passages_of_library(modules: Iterable[ModuleText]) -> list[Passage]:
    """Name the passages of all modules as people do.

    Args:
        modules: the files of one library.

    Returns:
        Their passages in the same order, each `name` fully qualified and public where there is a public name.
    """
    known = {module.name: module for module in modules}
    aliases = _aliases(known)
    passages: list[Passage] = []
    for module in known.values():
        for passage in module.passages:
            local = passage.name
            top = local.partition(".")[0]
            full = f"{module.name}.{local}" if local else module.name
            publics = [f"{alias}{local[len(top) :]}" for alias in aliases.get((module.name, top), ())]
            if local:
                publics.extend(f"{alias}.{local}" for alias in aliases.get((module.name, ""), ()))
            shown = min([*publics, full], key=lambda name: (_is_private(name), name == full, name.count("."), len(name), name))
            names = tuple(dict.fromkeys([shown, full, *publics, *([local] if local else [])]))
            hidden = _is_private(shown.rpartition(".")[0] if local else shown)
            prior = passage.prior * (_SPECIAL_PRIOR if hidden else 1.0)
            passages.append(replace(passage, name=shown, names=names, prior=prior))
    return passages


def _is_private(name: str) -> bool:
    return any(part.startswith("_") for part in name.split("."))


def _aliases(known: dict[str, ModuleText]) -> dict[tuple[str, str], list[str]]:
    """Public names by (module, name in it): what modules take over from their own parts and from private modules.

    A whole module taken over as one of `__all__` (`os.path`) has the name `""`.
    """
    aliases: dict[tuple[str, str], list[str]] = {}
    for module in known.values():
        for origin, name, here in module.taken:
            source = known.get(origin)
            if source is None:
                continue
            if not name:
                # os takes over one of two modules as os.path; the other one is not what it is here.
                if module.public and here in module.public and (here != "path" or origin == os.path.__name__):
                    aliases.setdefault((origin, ""), []).append(f"{module.name}.{here}")
                continue
            if not (origin.startswith(f"{module.name}.") or origin.rpartition(".")[2].startswith("_")):
                continue
            if name == "*":
                tops = {passage.name.partition(".")[0] for passage in source.passages if passage.name}
                for top in sorted(tops):
                    if top in source.public if source.public is not None else not top.startswith("_"):
                        aliases.setdefault((origin, top), []).append(f"{module.name}.{top}")
            elif module.public is None or here in module.public:
                aliases.setdefault((origin, name), []).append(f"{module.name}.{here}")
    return aliases
