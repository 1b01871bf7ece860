"""Generates the codecs of a message: its methods `__bytes__` and `parse`, as straight-line code.

What is common is written out: a call per field would cost more than the field. `boxd/messages/_wire.py` has the rest.
"""

from __future__ import annotations

import math

from codegen.output import WIDTH, python_name
from codegen.schema import Field, Message, SchemaError

INTEGERS = {"int32": "more_int32", "int64": "more_int64", "uint32": "more_uint32", "uint64": "more"}
"""For each type of integer, the function that decodes one of more than one byte."""

GROUP = 6
"""How many fields are looked for one after the other. More are first narrowed down: in order of their tags, each group
is passed over with one comparison."""


def codecs(message: Message) -> str:
    """The methods `__bytes__` and `parse` of a message's class."""
    return _encoder(message) + _decoder(message)


def wire_tag(field: Field, *, packed: bool = False) -> int:
    """The tag of a field: its number and its wire type."""
    if field.kind == "double" and not packed:
        return field.number << 3 | 1
    return field.number << 3 | (0 if _scalar(field) and not packed else 2)


def _scalar(field: Field) -> bool:
    """Whether a field has a number's type, of which a list is packed."""
    return field.kind in INTEGERS or field.kind in ("bool", "double")


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes((value & 127 | 128,))
        value >>= 7
    return out + bytes((value,))


def _literal(data: bytes) -> str:
    return 'b"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


def _indent(lines: list[str], levels: int = 1) -> list[str]:
    return [f"{'    ' * levels}{line}" if line else line for line in lines]


# Encoding


def _encoder(message: Message) -> str:
    if not message.fields:
        return "\n    def __bytes__(self) -> bytes:\n        return self._unknown_fields\n"
    lines = ["out: list[bytes] = []", *_oneof_checks(message)]
    for field in message.fields:
        lines += _encode_field(message, field)
    lines += ["if self._unknown_fields:", "    out.append(self._unknown_fields)", 'return b"".join(out)']
    return "\n".join(["", "    def __bytes__(self) -> bytes:", *_indent(lines, 2), ""])


def _oneof_checks(message: Message) -> list[str]:
    lines = []
    for group, fields in _groups(message).items():
        values = ", ".join(f"self.{python_name(field.name)}" for field in fields)
        lines.append(f"if ({values}).count(None) < {len(fields) - 1}:")
        text = f"{message.name} has more than one field set of the oneof {group}"
        lines.append(f'    raise ValueError("{text}")')
    return lines


def _groups(message: Message) -> dict[str, list[Field]]:
    groups: dict[str, list[Field]] = {}
    for field in message.fields:
        if field.oneof is not None:
            groups.setdefault(field.oneof, []).append(field)
    return groups


def _encode_field(message: Message, field: Field) -> list[str]:
    name = f"self.{python_name(field.name)}"
    label = f'"{message.name}.{field.name}"'
    tag = _literal(_varint(wire_tag(field)))
    if field.entry is not None:
        _check_entry(field)
        return [f"if {name}:", f"    out += entries({tag}, {name}, {label})"]
    if field.repeated and _scalar(field):
        tag = _literal(_varint(wire_tag(field, packed=True)))
        items = f'b"".join([{_scalar_bytes(field, "item", label)} for item in {name}])'
        return [f"if {name}:", f"    out.append(nested({tag}, {items}))"]
    if field.repeated:
        if field.kind == "bytes":
            each = f"piece for item in {name} for piece in raw({tag}, item, {label})"
        elif field.message is not None:
            each = f"submessage({tag}, item, {field.message}, {label}) for item in {name}"
        else:
            each = f"text({tag}, item, {label}) for item in {name}"
        return [f"if {name}:", *_indent(_comprehension(each))]
    present = field.optional or field.oneof is not None or field.message is not None
    if field.kind == "double" and not present:
        # Zero is not sent, but a negative zero is: it is not the default.
        zero = '"\\0" * 8'
        return [f"number = double({name}, {label})", f"if number != b{zero}:", f"    out += ({tag}, number)"]
    condition = f"{name} is not None" if present else name
    return [f"if {condition}:", *_indent(_encode_value(field, name, label, constant=not present))]


def _comprehension(each: str) -> list[str]:
    """A statement that adds some pieces, on a line or on three; it is indented by three levels."""
    line = f"out += [{each}]"
    return [line] if len(line) + 12 <= WIDTH else ["out += [", f"    {each}", "]"]


def _encode_value(field: Field, value: str, label: str, *, constant: bool = False) -> list[str]:
    """Statements that add a value with its tag. `constant` says that a bool can only be true."""
    encoded = _varint(wire_tag(field))
    tag = _literal(encoded)
    if field.message is not None:
        return [f"out.append(submessage({tag}, {value}, {field.message}, {label}))"]
    if field.kind == "string":
        return [f"out.append(text({tag}, {value}, {label}))"]
    if field.kind == "bytes":
        return [f"out += raw({tag}, {value}, {label})"]
    if field.kind == "bool" and constant:
        return [f"out.append({_literal(encoded + bytes((1,)))})"]
    return [f"out += ({tag}, {_scalar_bytes(field, value, label)})"]


def _scalar_bytes(field: Field, value: str, label: str) -> str:
    if field.kind == "bool":
        return f'(b"\\x01" if {value} else b"\\x00")'
    return f"{field.kind}({value}, {label})"


# Decoding


def _decoder(message: Message) -> str:
    signature = ["", "    @classmethod", "    def parse(cls, data: bytes, into: Self | None = None) -> Self:"]
    tags = sorted(tag for field in message.fields for tag in _tags(field))
    containers = [field for field in message.fields if field.repeated or field.entry is not None]
    lines = ["message = cls.__new__(cls) if into is None else into"]
    if containers:
        lines.append("if into is None:")
        for field in containers:
            lines.append(f"    message.{python_name(field.name)} = {'[]' if field.repeated else '{}'}")
    lines += ["at, end, kept = 0, len(data), None", "try:", "    while at < end:"]
    if message.fields:
        lines += _indent(_TAG, 2) + _indent(_branches(message), 2)
    unknown = "unknown(data, start, {}, kept)" if message.fields else "unknown(data, at, (), kept)"
    lines += _indent([f"at, kept = {unknown.format(_tag_tuple(tags))}"], 2)
    error = "(IndexError, UnicodeDecodeError, Malformed)" if message.fields else "(IndexError, Malformed)"
    lines += [
        "    if at > end:",
        "        raise IndexError",
        f"except {error} as error:",
        f'    raise malformed("{message.name}", error) from None',
        "if kept is not None:",
        '    message._unknown_fields += b"".join(kept)',
        "return message",
    ]
    return "\n".join([*signature, *_indent(lines, 2), ""])


_TAG = [
    "start = at",
    "tag = data[at]",
    "at += 1",
    "if tag > 127:",
    "    tag |= data[at] << 8",
    "    at += 1",
]
"""The tag as its bytes are, the first the lowest: a number that is cheaper to make than the tag itself."""


def _tag_tuple(tags: list[int]) -> str:
    return f"({', '.join(map(str, tags))}{',' if len(tags) == 1 else ''})"


def _tags(field: Field) -> list[int]:
    tags = [wire_tag(field)]
    return [*tags, wire_tag(field, packed=True)] if field.repeated and _scalar(field) else tags


def _branches(message: Message) -> list[str]:
    """The tests for each tag, in groups if there are many."""
    found = []
    for field in message.fields:
        if field.number > 2047:
            raise SchemaError(f"{message.name}.{field.name}: field numbers above 2047 are not supported")
        for tag in _tags(field):
            raw = int.from_bytes(_varint(tag), "little")
            packed = tag != wire_tag(field)
            body = _decode_packed(message, field) if packed else _decode_field(message, field)
            found.append((raw, [f"if tag == {raw:#04x}:  # {field.name}", *_indent([*body, "continue"])]))
    if len(found) <= GROUP:
        return [line for _, lines in found for line in lines]
    count = math.ceil(math.sqrt(len(found)))
    size = math.ceil(len(found) / count)
    groups = [found[at : at + size] for at in range(0, len(found), size)]
    lines = []
    for at, group in enumerate(groups):
        if at + 1 < len(groups):
            lines.append(f"{'elif' if at else 'if'} tag < {groups[at + 1][0][0]:#04x}:")
        else:
            lines.append("else:")
        lines += _indent([line for _, branch in group for line in branch])
    return lines


_SIZE = [
    "size = data[at]",
    "at += 1",
    "if size > 127:",
    "    size, at = more(data, at, size)",
    "stop = at + size",
]


def _decode_field(message: Message, field: Field) -> list[str]:
    target = f"message.{python_name(field.name)}"
    if _scalar(field):
        return [*_number(field), *_store(message, field, _number_value(field))]
    if field.entry is not None:
        _check_entry(field)
        return [*_SIZE, "key, entry = text_entry(data[at:stop])", f"{target}[key] = entry", "at = stop"]
    piece = "data[at:stop]"
    if field.message is not None:
        old = "" if field.repeated else f", {target}"
        piece = f"{field.message}.parse({piece}{old})"
    elif field.kind == "string":
        piece += ".decode()"
    # Where data ends too early a slice is short, and the loop ends beyond the end: one check for all.
    return [*_SIZE, *_store(message, field, piece), "at = stop"]


def _store(message: Message, field: Field, value: str) -> list[str]:
    target = f"message.{python_name(field.name)}"
    if field.repeated:
        return [f"{target}.append({value})"]
    others = [other for other in message.fields if field.oneof is not None and other.oneof == field.oneof]
    clear = [f"message.{python_name(other.name)} = None" for other in others if other is not field]
    return [f"{target} = {value}", *clear]


def _number(field: Field) -> list[str]:
    """Statements that read a number, for `_number_value` to name."""
    if field.kind == "double":
        return ["number = eight_bytes(data, at)", "at += 8"]
    more = INTEGERS.get(field.kind, "more")
    return ["value = data[at]", "at += 1", "if value > 127:", f"    value, at = {more}(data, at, value)"]


def _number_value(field: Field) -> str:
    return {"bool": "value != 0", "double": "number"}.get(field.kind, "value")


def _decode_packed(message: Message, field: Field) -> list[str]:
    read = [*_number(field), *_store(message, field, _number_value(field))]
    return [*_SIZE, "while at < stop:", *_indent(read), "if at > stop:", "    raise IndexError"]


def _check_entry(field: Field) -> None:
    if field.entry is None or any(part.kind != "string" for part in field.entry):
        raise SchemaError(f"the field {field.name} is a map of other types than text, which is not supported")
