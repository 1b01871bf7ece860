"""Generates `boxd/blocking/`: the blocking surface, derived from the async classes by their source.

Every public class of a module in `MODULES` gets a twin of the same name whose methods have the same signatures and
docstrings and forward to the async object. What cannot be derived is refused, with its place.
"""

from __future__ import annotations

import ast
import textwrap
from dataclasses import dataclass
from pathlib import Path

from codegen.output import header

FOLDER = "boxd/blocking"
#: The async modules that have public classes, lower layers first.
MODULES = (
    "boxd/resources/process.py",
    "boxd/resources/logs.py",
    "boxd/resources/backups.py",
    "boxd/resources/checkpoints.py",
    "boxd/resources/ports.py",
    "boxd/resources/filesystem.py",
    "boxd/resources/box.py",
    "boxd/resources/boxes.py",
    "boxd/resources/api_keys.py",
    "boxd/resources/billing.py",
    "boxd/resources/disks.py",
    "boxd/resources/domains.py",
    "boxd/resources/networks.py",
    "boxd/resources/orgs.py",
    "boxd/resources/snapshots.py",
    "boxd/resources/templates.py",
    "boxd/resources/tokens.py",
    "boxd/resources/variables.py",
    "boxd/client.py",
)
#: Words of docstrings that differ between the surfaces.
_WORDING = (
    ("async with await ", "with "),
    ("async with ", "with "),
    ("async for ", "for "),
    ("await ", ""),
    ("boxd.aio", "boxd"),
    ("`async with`", "`with`"),
    ("an async iterator", "an iterator"),
    ("An async iterator", "An iterator"),
    ("an async context manager", "a context manager"),
    ("Belongs to one event loop at a time.", "May be shared by threads, and used where an event loop runs."),
)
#: Characters of a call that gets a line of its own.
_LONG = 150
_RENAMED = {"__aiter__": "__iter__", "__anext__": "__next__", "__aenter__": "__enter__", "__aexit__": "__exit__"}
_KEPT_SPECIAL = frozenset((*_RENAMED, "__init__"))
_DERIVED_BY_BASE = frozenset(("__repr__", "__eq__", "__hash__"))


class SurfaceError(Exception):
    """The async source has something that the blocking surface cannot express."""


@dataclass(frozen=True)
class Module:
    """One async module."""

    path: str
    trees: tuple[ast.Module, ...]
    """Its own tree, and those of the modules that its classes' bases are in."""
    classes: tuple[ast.ClassDef, ...]

    @property
    def name(self) -> str:
        """Its import name."""
        return self.path.removesuffix(".py").replace("/", ".")

    @property
    def twin(self) -> str:
        """The import name of the generated module."""
        return f"boxd.blocking.{Path(self.path).stem}"


def generate(root: Path) -> dict[str, str]:
    """The text of every file of the blocking surface, by its path relative to the root."""
    modules = [load_module(root, path) for path in MODULES]
    homes = {cls.name: module for module in modules for cls in module.classes}
    files = {f"{FOLDER}/{Path(module.path).name}": _module(module, homes) for module in modules}
    files[f"{FOLDER}/__init__.py"] = header("the async classes") + '"""The blocking surface."""\n'
    return files


def load_module(root: Path, path: str) -> Module:
    """An async module with its public classes, each with the members of its bases."""
    tree = ast.parse((root / path).read_text(), path)
    trees = [tree]
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    classes = [cls for cls in classes if not cls.decorator_list]
    for cls in classes:
        cls.body = _members(root, tree, cls, trees)
    return Module(path, tuple(trees), tuple(classes))


def _members(root: Path, tree: ast.Module, cls: ast.ClassDef, trees: list[ast.Module]) -> list[ast.stmt]:
    """The body of a class after those of its bases, which are classes imported from other modules of the package. The
    trees of these modules are added to `trees`."""
    body = list(cls.body)
    for base in reversed(cls.bases):
        home = next((line for line, names in _source_imports(tree) if ast.unparse(base) in names), "")
        if not home.startswith("boxd.resources."):
            raise SurfaceError(f"{cls.name}: the base {ast.unparse(base)} is not imported from boxd.resources")
        other = ast.parse((root / f"{home.replace('.', '/')}.py").read_text(), home)
        trees.append(other)
        found = next(node for node in other.body if isinstance(node, ast.ClassDef) and node.name == ast.unparse(base))
        own = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        inherited = _members(root, other, found, trees)[1:]  # Without the docstring.
        kept = [node for node in inherited if getattr(node, "name", None) not in own]
        body = [body[0], *kept, *body[1:]]
    return body


def _module(module: Module, homes: dict[str, Module]) -> str:
    body = "\n\n".join(_Twin(module, cls, homes).text() for cls in module.classes)
    lines = [
        header(module.path),
        f'"""The blocking twins of `{module.name}`."""\n\n',
        "from __future__ import annotations\n\n",
        *_imports(module, homes, ast.parse(body)),
        "\n\n",
        body,
    ]
    return "".join(lines)


def _imports(module: Module, homes: dict[str, Module], body: ast.Module) -> list[str]:
    """The imports of a generated module: its base, its async module, its neighbours, and the names in signatures."""
    used = {node.id for node in ast.walk(body) if isinstance(node, ast.Name)}
    used |= {node.value for node in ast.walk(body) if isinstance(node, ast.Constant) and node.value in homes}
    shared = [name for name in ("Blocking", "at_desk", "desk_for", "run", "unwrap") if name in used]
    at_run_time = [f"from boxd._blocking import {', '.join(shared)}\n"]
    package, _, stem = module.name.rpartition(".")
    at_run_time.append(f"from {package} import {stem} as _aio\n")
    sources = {
        name: line
        for tree in module.trees
        for line, names in _source_imports(tree)
        for name in names
        if name in used and name not in homes and name != "TYPE_CHECKING" and line != "__future__"
    }
    typing = sorted(name for name, line in sources.items() if line == "typing")
    hints = {name: line for name, line in sources.items() if line != "typing"}
    hints |= {name: homes[name].twin for name in homes if name in used and homes[name] is not module}
    if hints:
        typing = sorted({*typing, "TYPE_CHECKING"})
    plainly = {name for tree in module.trees for name in _imported_modules(tree)}
    out = [f"import {name}\n" for name in sorted(plainly & used)]
    out += [f"from typing import {', '.join(typing)}\n"] if typing else []
    out += ["\n", *sorted(at_run_time)]
    return out + (["\nif TYPE_CHECKING:\n", *(f"    {line}" for line in _from_imports(hints))] if hints else [])


def _from_imports(homes: dict[str, str]) -> list[str]:
    """A line for each module that names come from."""
    lines = []
    for home in sorted(set(homes.values())):
        names = sorted(name for name in homes if homes[name] == home)
        lines.append(f"from {home} import {', '.join(names)}\n")
    return lines


def _source_imports(tree: ast.Module) -> list[tuple[str, list[str]]]:
    """Every `from module import names` of the source, those for type checkers too; definitions of its own last."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not any(alias.asname for alias in node.names):
            found.setdefault(node.module, []).extend(alias.name for alias in node.names)
    return list(found.items())


def _imported_modules(tree: ast.Module) -> set[str]:
    """The names of the source's plain imports."""
    return {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}


class _Twin:
    """Writes one blocking class."""

    def __init__(self, module: Module, cls: ast.ClassDef, homes: dict[str, Module]) -> None:
        self._module = module
        self._cls = cls
        self._homes = homes
        self._methods = {node.name for node in cls.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}

    def text(self) -> str:
        """The class as source."""
        cls = self._cls
        out = [f'class {cls.name}(Blocking["_aio.{cls.name}"]):\n', _docstring(cls, "    "), "\n    __slots__ = ()\n"]
        for node in cls.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                out.append(self._method(node))
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                out.append(self._field(node, cls.body))
        return "".join(out)

    def _field(self, node: ast.AnnAssign, body: list[ast.stmt]) -> str:
        """An annotated attribute, as a property with the docstring below it."""
        assert isinstance(node.target, ast.Name)
        name = node.target.id
        if name.startswith("_"):
            return ""
        after = body[body.index(node) + 1] if body[-1] is not node else None
        text = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = _quote(str(after.value.value), "        ")
        value = self._convert(f"self._async.{name}", node.annotation)
        head = f"\n    @property\n    def {name}(self) -> {ast.unparse(node.annotation)}:\n"
        return f"{head}{text}        return {value}\n"

    def _method(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
        name = node.name
        if name.startswith("_") and name not in _KEPT_SPECIAL:
            return ""
        if name == "__init__" and self._module.path != "boxd/client.py":
            return ""  # Only clients are made by users; everything else comes from a call.
        self._refuse(node)
        decorators = "".join(f"    @{ast.unparse(one)}\n" for one in node.decorator_list)
        if any(ast.unparse(one) == "overload" for one in node.decorator_list):
            return f"\n{decorators}{self._signature(node)} ...\n"
        body = self._body(node)
        return f"\n{decorators}{self._signature(node)}\n{_docstring(node, '        ')}{self._neighbours(body)}{body}"

    def _neighbours(self, body: str) -> str:
        """Imports of what a method needs of other modules, in the method: a program loads only what it uses."""
        names = {node.id for node in ast.walk(ast.parse(textwrap.dedent(body))) if isinstance(node, ast.Name)}
        lines = []
        for name, home in self._homes.items():
            if f"_Async{name}" in names:
                lines.append(f"        from {home.name} import {name} as _Async{name}\n")
            if name in names and home is not self._module:
                lines.append(f"        from {home.twin} import {name}\n")
        return "".join([*sorted(lines), "\n"] if lines else [])

    def _signature(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
        name = _RENAMED.get(node.name, node.name)
        returns = "" if node.returns is None else f" -> {ast.unparse(node.returns)}"
        parts = _parameters(node.args)
        line = f"    def {name}({', '.join(parts)}){returns}:"
        if len(line) <= 120:
            return line
        return f"    def {name}(\n" + "".join(f"        {part},\n" for part in parts) + f"    ){returns}:"

    def _body(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
        indent = "        "
        if node.name == "__init__":
            arguments = ", ".join(f"{arg.arg}={arg.arg}" for arg in node.args.kwonlyargs)
            return f"{indent}self._async = _aio.{self._cls.name}({arguments})\n"
        if node.name in ("__aiter__", "__aenter__"):
            enter = f"{indent}run(self._async.__aenter__())\n" if node.name == "__aenter__" else ""
            return f"{enter}{indent}return self\n"
        if node.name == "__anext__":
            return self._next()
        call = f"self._async.{node.name}"
        if any(ast.unparse(one) == "property" for one in node.decorator_list):
            return f"{indent}return {self._convert(call, node.returns)}\n"
        call = f"{call}({', '.join(self._arguments(node.args))})"
        callbacks = [arg.arg for arg in (*node.args.args, *node.args.kwonlyargs) if _is_callback(arg)]
        before = f"{indent}desk = desk_for({', '.join(callbacks)})\n" if callbacks else ""
        if isinstance(node, ast.AsyncFunctionDef):
            if len(call) > _LONG:
                # Tracebacks show the line of `run`.
                before += f"{indent}coroutine = {call}\n"
                call = "coroutine"
            call = f"run({call}, desk)" if callbacks else f"run({call})"
        if node.returns is not None and ast.unparse(node.returns) == "None":
            return f"{before}{indent}{call}\n"
        return f"{before}{indent}return {self._convert(call, node.returns)}\n"

    def _next(self) -> str:
        """Where the async twin can give what is at hand without waiting, a hop is made only for the next batch."""
        fast = ""
        if "_take" in self._methods:
            fast = "        item = self._async._take()\n        if item is not None:\n            return item\n"
        return (
            f"{fast}        try:\n            return run(self._async.__anext__())\n"
            "        except StopAsyncIteration:\n            raise StopIteration from None\n"
        )

    def _arguments(self, args: ast.arguments) -> list[str]:
        out = [self._argument(arg) for arg in args.args[1:]]
        if args.vararg is not None:
            out.append(f"*{args.vararg.arg}")
        return out + [f"{arg.arg}={self._argument(arg)}" for arg in args.kwonlyargs]

    def _argument(self, arg: ast.arg) -> str:
        if _is_callback(arg):
            return f"at_desk({arg.arg}, desk)"
        mentioned = arg.annotation is not None and self._wrapped(arg.annotation)
        return f"unwrap({arg.arg})" if mentioned else arg.arg

    def _convert(self, value: str, annotation: ast.expr | None) -> str:
        """`value`, of the async type `annotation`, as the blocking type of the same name."""
        if annotation is None or not self._wrapped(annotation):
            return value
        text = ast.unparse(annotation)
        if text in self._homes:
            return f"{text}._wrap({value})"
        if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in ("list", "builtins.list"):
            item = ast.unparse(annotation.slice)
            if item in self._homes:
                return f"[{item}._wrap(one) for one in {value}]"
        wrapped = self._wrapped(annotation)
        if isinstance(annotation, ast.BinOp) and len(wrapped) == 1:
            name = wrapped[0]
            return f"{name}._wrap(found) if isinstance(found := {value}, _Async{name}) else found"
        raise SurfaceError(f"{self._module.path}:{annotation.lineno}: cannot convert the type {text}")

    def _wrapped(self, annotation: ast.expr) -> list[str]:
        names = [node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)]
        return sorted({name for name in names if name in self._homes})

    def _refuse(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        place = f"{self._module.path}:{node.lineno}: {self._cls.name}.{node.name}"
        missing = [arg.arg for arg in (*node.args.args[1:], *node.args.kwonlyargs) if arg.annotation is None]
        if missing or (node.returns is None and node.name != "__init__"):
            raise SurfaceError(f"{place} is not fully annotated")
        if any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(node)):
            raise SurfaceError(f"{place} is a generator; make it a class with __anext__ and aclose")


def _is_callback(arg: ast.arg) -> bool:
    """Whether a parameter takes a function, to be called in the thread of the blocking call."""
    return arg.annotation is not None and "Callable[" in ast.unparse(arg.annotation)


def _parameters(args: ast.arguments) -> list[str]:
    """The parameters of a signature, one by one."""
    plain = [*args.posonlyargs, *args.args]
    missing = len(plain) - len(args.defaults)
    parts = [_parameter(arg, None if at < missing else args.defaults[at - missing]) for at, arg in enumerate(plain)]
    if args.vararg is not None:
        parts.append(f"*{_parameter(args.vararg, None)}")
    elif args.kwonlyargs:
        parts.append("*")
    return parts + [_parameter(arg, default) for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)]


def _parameter(arg: ast.arg, default: ast.expr | None) -> str:
    text = arg.arg if arg.annotation is None else f"{arg.arg}: {ast.unparse(arg.annotation)}"
    return text if default is None else f"{text} = {ast.unparse(default)}"


def _docstring(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, indent: str) -> str:
    text = ast.get_docstring(node, clean=True)
    return "" if text is None else _quote(text, indent)


def _quote(text: str, indent: str) -> str:
    """A docstring in the words of the blocking surface."""
    for ours, theirs in _WORDING:
        text = text.replace(ours, theirs)
    raw = "r" if "\\" in text else ""
    first, *rest = text.strip().splitlines()
    lines = [f'{indent}{raw}"""{first}', *(f"{indent}{line}".rstrip() for line in rest)]
    return "\n".join(lines) + ('"""\n' if not rest else f'\n{indent}"""\n')
