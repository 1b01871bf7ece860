from __future__ import annotations

import builtins
import copy
import pickle

import pytest

from boxd import errors
from boxd.errors import BoxdError, from_rpc
from boxd.transport import RpcError, StatusCode

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BoxdError)]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (StatusCode.CANCELLED, BoxdError),
        (StatusCode.UNKNOWN, errors.InternalError),
        (StatusCode.INVALID_ARGUMENT, errors.InvalidArgumentError),
        (StatusCode.DEADLINE_EXCEEDED, errors.TimeoutError),
        (StatusCode.NOT_FOUND, errors.NotFoundError),
        (StatusCode.ALREADY_EXISTS, errors.InvalidArgumentError),
        (StatusCode.PERMISSION_DENIED, errors.AuthenticationError),
        (StatusCode.RESOURCE_EXHAUSTED, errors.QuotaExceededError),
        (StatusCode.FAILED_PRECONDITION, BoxdError),
        (StatusCode.ABORTED, BoxdError),
        (StatusCode.OUT_OF_RANGE, BoxdError),
        (StatusCode.UNIMPLEMENTED, errors.UnsupportedError),
        (StatusCode.INTERNAL, errors.InternalError),
        (StatusCode.UNAVAILABLE, errors.ConnectionError),
        (StatusCode.DATA_LOSS, BoxdError),
        (StatusCode.UNAUTHENTICATED, errors.AuthenticationError),
    ],
)
def test_mapping(code: StatusCode, kind: type[BoxdError]) -> None:
    error = from_rpc(RpcError("why", code), "GetVm")
    assert type(error) is kind
    assert error.grpc_code == int(code)
    assert type(error.grpc_code) is int
    assert error.message.endswith("why")


def test_the_servers_message_is_kept() -> None:
    assert str(from_rpc(RpcError("no such machine", StatusCode.NOT_FOUND), "GetVm")) == "no such machine"


def test_an_empty_message_is_filled() -> None:
    assert "GetVm" in str(from_rpc(RpcError("", StatusCode.ABORTED), "GetVm"))
    assert "ABORTED" in str(from_rpc(RpcError("", StatusCode.ABORTED), "GetVm"))


def test_unimplemented_names_the_call() -> None:
    assert "BindDomain" in str(from_rpc(RpcError("", StatusCode.UNIMPLEMENTED), "BindDomain"))


def test_builtins() -> None:
    assert issubclass(errors.TimeoutError, builtins.TimeoutError)
    assert issubclass(errors.ConnectionError, builtins.ConnectionError)
    assert issubclass(errors.FileTooLargeError, ValueError)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_pickle_and_copy(kind: type[BoxdError], clone: object) -> None:
    assert callable(clone)
    error = kind("what happened", 4)
    error.stdout, error.stderr = "out", b"err"
    twin = clone(error)
    assert type(twin) is kind
    assert (twin.message, twin.grpc_code, twin.stdout, twin.stderr) == ("what happened", 4, "out", b"err")
    assert str(twin) == "what happened"
    assert repr(twin) == f"{kind.__name__}('what happened', grpc_code=4)"


def test_defaults() -> None:
    error = BoxdError("x")
    assert (error.grpc_code, error.stdout, error.stderr) == (None, None, None)
    assert str(errors.TimeoutError("x", 4)) == "x"
