"""Codecs: protobuf and JSON by name, and one's own."""

from __future__ import annotations

import json

import pytest

from boxd import messages, methods
from boxd.transport.codec import JsonCodec, ProtoCodec, get_codec


def test_by_name() -> None:
    assert isinstance(get_codec("proto"), ProtoCodec)
    assert isinstance(get_codec("json"), JsonCodec)
    own = JsonCodec()
    assert get_codec(own) is own
    with pytest.raises(ValueError, match="xml"):
        get_codec("xml")


def test_proto_is_what_the_method_brings() -> None:
    assert ProtoCodec().encoder(methods.Exec) is methods.Exec.encode
    assert ProtoCodec().decoder(methods.Exec) is methods.Exec.decode


def test_json_of_messages() -> None:
    encode, decode = JsonCodec().encoder(methods.Exec), JsonCodec().decoder(methods.Exec)
    chunk = messages.ExecChunk(data=b"\0\xff", vm_id="v", exit_code=-1)
    assert json.loads(encode(chunk)) == {"data": "AP8=", "vmId": "v", "exitCode": -1}
    assert decode(encode(chunk)) == chunk


def test_json_fields_that_are_new_are_ignored() -> None:
    decode = JsonCodec().decoder(methods.Exec)
    assert decode(b'{"data":"AP8=","brandNew":{"x":[1]}}') == messages.ExecChunk(data=b"\0\xff")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[]"])
def test_json_that_is_none(text: bytes) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  # Whatever it is, a call makes it DecodeFailed.
        JsonCodec().decoder(methods.Exec)(text)


def test_json_with_other_messages() -> None:
    codec = JsonCodec(lambda message: json.dumps(message), lambda kind, text: kind(json.loads(text)))
    assert codec.encoder(methods.Exec)([1]) == b"[1]"  # type: ignore[arg-type]
