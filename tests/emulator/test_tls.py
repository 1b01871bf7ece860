"""The endpoint over TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

import boxd
from boxd import emulator


def test_both_endpoints_have_the_same_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "cert.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with emulator.running(sandbox="plain", tls_cert=str(tmp_path / "cert.pem")) as local:
        with boxd.Compute(token=local.token, api_url=local.tls_url) as c:
            box = c.box.create("one")
            assert box.exec("echo", "hello").stdout == "hello\n"
            local.faults.add("goaway", "Whoami", times=1)
            assert c.whoami().user_id
            local.faults.add("reset", "CreateVm", times=1)
            with pytest.raises(boxd.ConnectionError):
                c.box.create()
        with boxd.Compute(token=local.token, api_url=local.api_url) as c:
            assert [one.name for one in c.box.list()] == ["one"]


def test_without_a_certificate_there_is_none(tmp_path: Path) -> None:
    with emulator.running(sandbox="plain") as local:
        assert local.tls_url == ""
    with pytest.raises(FileNotFoundError), emulator.running(sandbox="plain", tls_cert=str(tmp_path / "none.pem")):
        pytest.fail("it started")
