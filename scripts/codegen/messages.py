"""Generates `boxd/messages/`: one module of betterproto2 messages per .proto file, and a lazy package over them."""

from __future__ import annotations

import keyword
from pathlib import Path

from codegen.output import WIDTH, docstring, header
from codegen.schema import Field, Message, Module, Schema, SchemaError, load

FOLDER = "boxd/messages"

PYTHON_TYPES = {
    "bool": "bool",
    "bytes": "bytes",
    "double": "float",
    "int32": "int",
    "int64": "int",
    "string": "str",
    "uint32": "int",
    "uint64": "int",
}
"""Python's type for each scalar the contract uses."""


def generate(root: Path) -> dict[str, str]:
    """The text of every module of `boxd/messages/`, by path relative to the root."""
    schema = load(root)
    files = {f"{FOLDER}/{module.name}.py": module_text(schema, module) for module in schema.modules}
    files[f"{FOLDER}/__init__.py"] = package_text(schema)
    return files


def python_name(name: str) -> str:
    """The attribute for a field: its own name, with an underscore where Python keeps the name to itself."""
    return f"{name}_" if keyword.iskeyword(name) else name


def module_text(schema: Schema, module: Module) -> str:
    """The module of one .proto file."""
    names = sorted(message.name for message in module.messages)
    parts = [
        header(module.source),
        docstring(module.doc or f"Messages of {module.source}."),
        f"\nfrom __future__ import annotations\n\n{_dataclasses(module)}\nimport betterproto2\n",
        _constants(module),
        _imports(schema, module),
        _tuple("__all__", names),
        *(_class(message) for message in module.messages),
    ]
    return "".join(parts)


def _dataclasses(module: Module) -> str:
    secrets = any(field.secret for message in module.messages for field in message.fields)
    return _import("dataclasses", ["dataclass", "replace"] if secrets else ["dataclass"])


def _constants(module: Module) -> str:
    """The import of betterproto2's names for the types that the module's fields have."""
    fields = [field for message in module.messages for field in message.fields]
    names = sorted({_constant(part) for field in fields for part in (field, *(field.entry or ()))})
    return _import("betterproto2", names) if names else ""


def _imports(schema: Schema, module: Module) -> str:
    """Imports of the messages of other modules that this one's fields hold.

    betterproto2 finds the class of a field among the globals of its message's module, so they are names there.
    """
    wanted: dict[str, set[str]] = {}
    for message in module.messages:
        for name in _references(message):
            home = schema.messages[name].module
            if home != module.name:
                wanted.setdefault(home, set()).add(name)
    lines = [_import(f".{home}", sorted(names)) for home, names in sorted(wanted.items())]
    return "\n" + "".join(lines) if lines else ""


def _import(module: str, names: list[str]) -> str:
    """An import on one line, or on a line for each name when it does not fit."""
    line = f"from {module} import {', '.join(names)}\n"
    if len(line) <= WIDTH:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")\n"


def _references(message: Message) -> set[str]:
    fields = [part for field in message.fields for part in (field.entry or (field,))]
    return {field.message for field in fields if field.message is not None}


def _tuple(name: str, items: list[str]) -> str:
    if len(items) == 1:
        return f'\n{name} = ("{items[0]}",)\n'
    return f"\n{name} = (\n" + "".join(f'    "{item}",\n' for item in items) + ")\n"


def _class(message: Message) -> str:
    parts = [
        "\n\n@dataclass(eq=False, repr=False, kw_only=True)\n",
        f"class {message.name}(betterproto2.Message):\n",
        docstring(message.doc or f"The message {message.name}.", "    "),
        "\n" if message.fields else "",
    ]
    for field in message.fields:
        parts.append(_attribute(field))
        if field.doc:
            parts.append(docstring(field.doc, "    "))
    return "".join(parts) + _repr(message)


def _repr(message: Message) -> str:
    """A repr of its own for a message with secrets: betterproto2's shows every field."""
    secrets = [python_name(field.name) for field in message.fields if field.secret]
    if not secrets:
        return ""
    changes = ", ".join(f'{name}=self.{name} and "[redacted]"' for name in secrets)
    return (
        "\n    def __repr__(self) -> str:\n"
        f"        shown = replace(self, {changes})\n"
        f"        return super({message.name}, shown).__repr__()\n"
    )


def _attribute(field: Field) -> str:
    """The declaration of one field, on one line or on three."""
    start = f"    {python_name(field.name)}: {_annotation(field)} = betterproto2.field("
    arguments = _arguments(field)
    if len(start) + len(arguments) + 1 <= WIDTH:
        return f"{start}{arguments})\n"
    return f"{start}\n        {arguments}\n    )\n"


def _annotation(field: Field) -> str:
    if field.entry is not None:
        key, value = field.entry
        return f"dict[{_annotation(key)}, {_type(value)}]"
    if field.repeated:
        return f"list[{_type(field)}]"
    return f"{_type(field)} | None" if _nullable(field) else _type(field)


def _nullable(field: Field) -> bool:
    return field.optional or field.oneof is not None or field.message is not None


def _type(field: Field) -> str:
    if field.message is not None:
        return field.message
    if field.kind not in PYTHON_TYPES:
        raise SchemaError(f"the field {field.name} has the type {field.kind}, which is not supported")
    return PYTHON_TYPES[field.kind]


def _arguments(field: Field) -> str:
    """The arguments of `betterproto2.field`."""
    options = ""
    if field.entry is not None:
        key, value = field.entry
        options += f", map_meta=betterproto2.map_meta({_constant(key)}, {_constant(value)})"
    if field.repeated:
        options += ", repeated=True"
    elif _nullable(field):
        options += ", optional=True"
    if field.oneof is not None:
        options += f', group="{field.oneof}"'
    return f"{field.number}, {_constant(field)}{options}"


def _constant(field: Field) -> str:
    return f"TYPE_{field.kind.upper()}"


def package_text(schema: Schema) -> str:
    """`boxd/messages/__init__.py`: every message under its name, imported when it is first asked for."""
    rows = []
    for module in schema.modules:
        names = " ".join(sorted(message.name for message in module.messages))
        rows.append(_names_row(module.name, names))
    stars = "".join(f"    from .{module.name} import *  # noqa: F403\n" for module in schema.modules)
    return header(f"{Path(schema.modules[0].source).parent.as_posix()}/*.proto") + _PACKAGE.format(
        rows="".join(rows), stars=stars
    )


def _names_row(module: str, names: str) -> str:
    """`"module": "Name Name ...",`, folded to the width."""
    row = f'    "{module}": "{names}",\n'
    if len(row) <= WIDTH:
        return row
    lines = [""]
    for name in names.split(" "):
        if len(lines[-1]) + len(name) + 11 > WIDTH:
            lines.append("")
        lines[-1] += f"{name} "
    lines[-1] = lines[-1].rstrip()
    return f'    "{module}": (\n' + "".join(f'        "{line}"\n' for line in lines) + "    ),\n"


_PACKAGE = '''\
"""The messages of the service: one module per .proto file, each imported when a name of it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
{stars}
_MODULES = {{
{rows}}}
_HOMES = {{name: module for module, names in _MODULES.items() for name in names.split()}}


if not TYPE_CHECKING:  # A type checker would take it for a promise that any name exists.

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(f"{{__name__}}.{{name}}")
        if name not in _HOMES:
            raise AttributeError(f"module {{__name__!r}} has no attribute {{name!r}}")
        value = getattr(import_module(f"{{__name__}}.{{_HOMES[name]}}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({{*globals(), *_MODULES, *_HOMES}})


def names() -> tuple[str, ...]:
    """The name of every message, in the order of the modules."""
    return tuple(_HOMES)
'''
