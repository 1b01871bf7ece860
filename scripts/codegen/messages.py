"""Generates `boxd/messages/`: one module of betterproto2 messages per .proto file, and a lazy package over them."""

from __future__ import annotations

import re
from pathlib import Path

from codegen.codecs import codecs
from codegen.output import WIDTH, docstring, header, python_name
from codegen.schema import Field, Message, Module, Schema, SchemaError, load

FOLDER = "boxd/messages"
WRITTEN_BY_HAND = tuple(f"{FOLDER}/{name}.py" for name in ("_message", "_quick_import", "_wire"))

DEFAULTS = {
    "bool": ("bool", "False"),
    "bytes": ("bytes", 'b""'),
    "double": ("float", "0.0"),
    "int32": ("int", "0"),
    "int64": ("int", "0"),
    "string": ("str", '""'),
    "uint32": ("int", "0"),
    "uint64": ("int", "0"),
}
"""Python's type and the default of each scalar the contract uses."""

HELPERS = (
    "Malformed",
    "double",
    "eight_bytes",
    "entries",
    "int32",
    "int64",
    "malformed",
    "more",
    "more_int32",
    "more_int64",
    "more_uint32",
    "nested",
    "raw",
    "submessage",
    "text",
    "text_entry",
    "uint32",
    "uint64",
    "unknown",
)
"""What codecs use of `boxd/messages/_wire.py`."""


def generate(root: Path) -> dict[str, str]:
    """The text of every module of `boxd/messages/`, by path relative to the root."""
    schema = load(root)
    files = {f"{FOLDER}/{module.name}.py": module_text(schema, module) for module in schema.modules}
    files[f"{FOLDER}/__init__.py"] = package_text(schema)
    return files


def module_text(schema: Schema, module: Module) -> str:
    """The module of one .proto file."""
    names = sorted(message.name for message in module.messages)
    classes = "".join(_class(message) for message in module.messages)
    parts = [
        header(module.source),
        docstring(module.doc or f"Messages of {module.source}."),
        "\nfrom __future__ import annotations\n\n",
        _import("dataclasses", ["replace"]) if "replace(self" in classes else "",
        "from typing import TYPE_CHECKING, Any\n\n",
        _betterproto(module),
        _import("._message", ["Message"]),
        _import("._wire", [name for name in HELPERS if re.search(rf"\b{name}\b(?=[(,)])", classes)]),
        _imports(schema, module),
        "\nif TYPE_CHECKING:\n    from typing_extensions import Self\n",
        _tuple("__all__", names),
        classes,
    ]
    return "".join(parts)


def _betterproto(module: Module) -> str:
    """The import of betterproto2's names for the types that the module's fields have."""
    fields = [field for message in module.messages for field in message.fields]
    if not fields:
        return ""
    names = sorted({_constant(part) for field in fields for part in (field, *(field.entry or ()))})
    functions = ["field", "map_meta"] if any(field.entry for field in fields) else ["field"]
    return _import("betterproto2", [*names, *functions]) + "\n"


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
    return "".join(_import(f".{home}", sorted(names)) for home, names in sorted(wanted.items()))


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
        f"\n\nclass {message.name}(Message):\n",
        docstring(message.doc or f"The message {message.name}.", "    "),
        "\n" if message.fields else "",
    ]
    for field in message.fields:
        default = "" if _default(field) is None else f" = {_default(field)}"
        parts.append(f"    {python_name(field.name)}: {_annotation(field)}{default}\n")
        if field.doc:
            parts.append(docstring(field.doc, "    "))
    return "".join([*parts, _init(message), codecs(message), _fields(message), _repr(message)])


def _init(message: Message) -> str:
    if not message.fields:
        return ""
    parameters, lines = [], []
    for field in message.fields:
        name, default = python_name(field.name), _default(field)
        if default is None:
            parameters.append(f"{name}: {_annotation(field)} | None = None")
            lines.append(f"self.{name} = {'[]' if field.repeated else '{}'} if {name} is None else {name}")
        else:
            parameters.append(f"{name}: {_annotation(field)} = {default}")
            lines.append(f"self.{name} = {name}")
    line = f"    def __init__(self, *, {', '.join(parameters)}) -> None:\n"
    if len(line) > WIDTH:
        rows = "".join(f"        {parameter},\n" for parameter in ["self", "*", *parameters])
        line = f"    def __init__(\n{rows}    ) -> None:\n"
    return f"\n{line}" + "".join(f"        {line}\n" for line in lines)


def _fields(message: Message) -> str:
    if not message.fields:
        return ""
    rows = "".join(_row(field) for field in message.fields)
    return f"\n    @staticmethod\n    def _fields() -> dict[str, Any]:\n        return {{\n{rows}        }}\n"


def _row(field: Field) -> str:
    """What betterproto2 knows of a field."""
    line = f'            "{python_name(field.name)}": field({_arguments(field)}),\n'
    if len(line) <= WIDTH:
        return line
    return f'            "{python_name(field.name)}": field(\n                {_arguments(field)}\n            ),\n'


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
    if field.kind not in DEFAULTS:
        raise SchemaError(f"the field {field.name} has the type {field.kind}, which is not supported")
    return DEFAULTS[field.kind][0]


def _default(field: Field) -> str | None:
    """The default as an expression; None for a list or a dict, of which each message has its own."""
    if field.repeated or field.entry is not None:
        return None
    return "None" if _nullable(field) else DEFAULTS[field.kind][1]


def _arguments(field: Field) -> str:
    """The arguments of `betterproto2.field`."""
    options = ""
    if field.entry is not None:
        key, value = field.entry
        options += f", map_meta=map_meta({_constant(key)}, {_constant(value)})"
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

from ._quick_import import prepare

if TYPE_CHECKING:
{stars}
prepare()

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
