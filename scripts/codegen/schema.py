"""The contract in `proto/`, read by protoc and turned into a small model that generators work from."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
)

PROTO_FOLDER = "proto"

Comments = dict[tuple[int, ...], str]
"""Comments of a file by the path of what they are about, as SourceCodeInfo has it."""


class SchemaError(Exception):
    """The contract cannot be read, or uses something the generators do not know."""


@dataclass(frozen=True)
class Field:
    """A field of a message."""

    name: str
    number: int
    kind: str
    """A scalar's name in the proto language ("uint32"), or "message", or "map"."""
    doc: str = ""
    repeated: bool = False
    optional: bool = False
    """Declared `optional`: it has presence."""
    oneof: str | None = None
    message: str | None = None
    """Name of the message it holds, for the kind "message"."""
    entry: tuple[Field, Field] | None = None
    """Key and value, for the kind "map"."""
    secret: bool = False
    """Marked `debug_redact`: no repr shows it."""


@dataclass(frozen=True)
class Message:
    """A message, with its fields in the order of their numbers."""

    name: str
    module: str
    fields: tuple[Field, ...]
    doc: str = ""


@dataclass(frozen=True)
class Rpc:
    """A method of the service."""

    name: str
    path: str
    kind: str
    """"unary", "client-stream", "server-stream" or "bidi"."""
    request: str
    response: str
    idempotent: bool
    no_side_effects: bool
    doc: str = ""


@dataclass(frozen=True)
class Module:
    """A .proto file with messages."""

    name: str
    source: str
    """Path of the file relative to the root."""
    messages: tuple[Message, ...]
    doc: str = ""


@dataclass(frozen=True)
class Schema:
    """The whole contract."""

    package: str
    modules: tuple[Module, ...]
    rpcs: tuple[Rpc, ...]

    @functools.cached_property
    def messages(self) -> dict[str, Message]:
        """Every message by its name."""
        return {message.name: message for module in self.modules for message in module.messages}


def descriptor_set(root: Path) -> FileDescriptorSet:
    """The contract as protoc reads it, each file after those it imports.

    Args:
        root: The repository.

    Raises:
        SchemaError: protoc refuses a file, or is not installed.
    """
    base = root / PROTO_FOLDER
    sources = [path.relative_to(base).as_posix() for path in sorted(base.rglob("*.proto"))]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "contract.binpb"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{base}", f"--descriptor_set_out={out}"]
        run = subprocess.run([*command, "--include_source_info", *sources], capture_output=True, text=True)
        if run.returncode != 0:
            raise SchemaError(f"protoc did not accept {base}; it needs `grpcio-tools`, and it said:\n{run.stderr}")
        return FileDescriptorSet.FromString(out.read_bytes())


@functools.lru_cache(maxsize=1)
def load(root: Path) -> Schema:
    """The contract as the generators' model.

    Args:
        root: The repository.

    Raises:
        SchemaError: protoc refuses a file, or a file uses something the generators do not know.
    """
    files = sorted(descriptor_set(root).file, key=lambda file: file.name)
    return Schema(
        package=files[0].package,
        modules=tuple(_module(file) for file in files if file.message_type),
        rpcs=tuple(rpc for file in files for rpc in _rpcs(file)),
    )


def _module(file: FileDescriptorProto) -> Module:
    comments = _comments(file)
    name = Path(file.name).stem
    if file.enum_type or file.extension:
        raise SchemaError(f"{file.name}: enums and extensions are not supported")
    return Module(
        name=name,
        source=f"{PROTO_FOLDER}/{file.name}",
        doc=comments.get((12,), ""),  # 12 is the field `syntax` of FileDescriptorProto
        messages=tuple(_message(proto, name, comments, (4, at)) for at, proto in enumerate(file.message_type)),
    )


def _message(proto: DescriptorProto, module: str, comments: Comments, path: tuple[int, ...]) -> Message:
    entries = {nested.name: nested for nested in proto.nested_type if nested.options.map_entry}
    if len(entries) != len(proto.nested_type) or proto.enum_type:
        raise SchemaError(f"{proto.name}: messages and enums within a message are not supported")
    fields = [_field(field, proto, entries, comments.get((*path, 2, at), "")) for at, field in enumerate(proto.field)]
    fields.sort(key=lambda field: field.number)
    return Message(proto.name, module, tuple(fields), comments.get(path, ""))


def _field(
    field: FieldDescriptorProto, owner: DescriptorProto, entries: dict[str, DescriptorProto], doc: str = ""
) -> Field:
    name = field.type_name.rpartition(".")[2]
    if name in entries:
        key, value = (_field(part, owner, {}) for part in entries[name].field)
        return Field(field.name, field.number, "map", doc, entry=(key, value))
    kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    in_oneof = field.HasField("oneof_index") and not field.proto3_optional
    return Field(
        field.name,
        field.number,
        kind,
        doc,
        repeated=field.label == FieldDescriptorProto.LABEL_REPEATED,
        optional=field.proto3_optional,
        oneof=owner.oneof_decl[field.oneof_index].name if in_oneof else None,
        message=name if kind == "message" else None,
        secret=field.options.debug_redact,
    )


def _rpcs(file: FileDescriptorProto) -> list[Rpc]:
    comments = _comments(file)
    return [
        Rpc(
            name=method.name,
            path=f"/{file.package}.{service.name}/{method.name}",
            kind=_streaming(method),
            request=method.input_type.rpartition(".")[2],
            response=method.output_type.rpartition(".")[2],
            idempotent=method.options.idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN,
            no_side_effects=method.options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS,
            doc=comments.get((6, number, 2, at), ""),
        )
        for number, service in enumerate(file.service)
        for at, method in enumerate(service.method)
    ]


def _streaming(method: MethodDescriptorProto) -> str:
    if method.client_streaming:
        return "bidi" if method.server_streaming else "client-stream"
    return "server-stream" if method.server_streaming else "unary"


def _comments(file: FileDescriptorProto) -> Comments:
    """The comment above each element, without the marks and the margin."""
    return {
        tuple(location.path): "\n".join(line.strip() for line in location.leading_comments.strip().splitlines())
        for location in file.source_code_info.location
        if location.leading_comments
    }
