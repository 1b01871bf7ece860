"""The plugin for pytest, in sessions of its own."""

from __future__ import annotations

import os
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder for a session's files, in an environment without settings of boxd."""
    for name in [name for name in os.environ if name.startswith("BOXD_") and name != "BOXD_TEST_SANDBOX"]:
        monkeypatch.delenv(name)
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makeconftest(
        """
        import os
        import pytest

        @pytest.fixture(scope="session")
        def boxd_emulator_options():
            return {"sandbox": os.environ.get("BOXD_TEST_SANDBOX", "auto"), "max_boxes": 3}
        """
    )
    return pytester


def run(session: pytest.Pytester, *arguments: str, **outcomes: int) -> pytest.RunResult:
    """Run the session in a process of its own, and check how many tests ended in which way."""
    result = session.runpytest_subprocess("-p", "no:cacheprovider", *arguments)
    result.assert_outcomes(**outcomes)
    return result


def test_it_is_an_entry_point() -> None:
    (point,) = entry_points(group="pytest11", name="boxd")
    assert point.value == "boxd.pytest_plugin"


def test_where_nothing_asks_for_it_nothing_is_loaded(session: pytest.Pytester) -> None:
    session.makeconftest("")
    session.makepyfile(
        """
        import sys

        def test_nothing(request):
            assert request.config.pluginmanager.hasplugin("boxd")
            wrong = ("boxd.client", "boxd.emulator", "boxd.transport", "anyio._backends", "grpclib", "httpx")
            assert not [name for name in wrong if name in sys.modules]
        """
    )
    run(session, "-p", "no:anyio", passed=1)


def test_a_program_by_the_environment_alone(session: pytest.Pytester) -> None:
    session.makepyfile(
        """
        import os
        import subprocess
        import sys

        from boxd import Compute

        PROGRAM = "from boxd import Compute; print(Compute().box.get('mine').exec('echo', 'hi').stdout)"

        def test_it(boxd_emulator):
            with Compute() as client:
                client.box.create("mine")
            printed = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
            assert printed.stdout.strip() == "hi"

        def test_with_the_key(boxd_emulator, monkeypatch):
            monkeypatch.delenv("BOXD_TOKEN")
            for _ in range(40):
                with Compute() as client:
                    assert client.whoami().user_id == "local-user"
        """
    )
    run(session, passed=2)


def test_the_environment_is_restored(session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOXD_ORG", "mine")
    monkeypatch.setenv("BOXD_TOKEN", "real")
    session.makeconftest(
        """
        import os

        def now():
            return {name: value for name, value in os.environ.items() if name.lower().startswith(("boxd_", "no_proxy"))}

        BEFORE = now()

        def pytest_unconfigure():
            assert now() == BEFORE
            print("restored")
        """
    )
    session.makepyfile(
        """
        import os

        def test_it(boxd_emulator):
            assert os.environ["BOXD_TOKEN"] == boxd_emulator.token
            assert "BOXD_ORG" not in os.environ
            assert "127.0.0.1" in os.environ["NO_PROXY"]
        """
    )
    run(session, "-s", passed=1).stdout.fnmatch_lines(["*restored*"])


def test_a_test_leaves_nothing_to_the_next(session: pytest.Pytester) -> None:
    session.makepyfile(
        """
        import pytest
        from boxd import Compute, ConnectionError

        @pytest.fixture(scope="module")
        def shared(boxd_emulator):
            with Compute() as client:
                yield client.box.create("shared")

        def names(client):
            return sorted(box.name for box in client.box.list())

        def test_one(boxd_emulator, boxd_client, boxd_box, shared):
            boxd_client.box.create("left")
            assert names(boxd_client) == sorted(["left", "shared", boxd_box.name])
            boxd_emulator.faults.add("unavailable")
            with pytest.raises(ConnectionError):
                boxd_client.box.create()

        def test_two(boxd_client):
            assert names(boxd_client) == ["shared"]

        def test_whose_fixture_fails_to_end(request, boxd_client):
            boxd_client.box.create("left")
            request.addfinalizer(lambda: 1 / 0)

        def test_three(boxd_client, shared):
            assert names(boxd_client) == ["shared"]
            assert shared.exec("true").success
        """
    )
    run(session, passed=4, errors=1)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_async_tests(session: pytest.Pytester, loop: str) -> None:
    session.makepyfile(
        f"""
        import pytest
        from boxd import aio

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return {loop!r}

        async def test_it(boxd_async_client, boxd_async_box):
            assert isinstance(boxd_async_client, aio.Compute)
            assert (await boxd_async_box.exec("echo", "hi")).stdout == "hi\\n"
            assert [box.id for box in await boxd_async_client.box.list()] == [boxd_async_box.id]

        def test_that_it_is_gone(boxd_client):
            assert boxd_client.box.list() == []
        """
    )
    run(session, passed=2)


def test_the_last_test_may_leave_boxes(session: pytest.Pytester) -> None:
    session.makepyfile("def test_it(boxd_box): boxd_box.exec('true')")
    run(session, passed=1)


def test_an_emulator_that_cannot_start_says_why(session: pytest.Pytester) -> None:
    session.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def boxd_emulator_options():
            return {"max_boxen": 3}
        """
    )
    session.makepyfile("def test_it(boxd_box): pass")
    result = run(session, errors=1)
    result.stdout.fnmatch_lines(["*the emulator cannot start: *max_boxen*"])
    assert "Traceback" not in result.stdout.str()


def test_without_the_extra_it_says_so(session: pytest.Pytester) -> None:
    session.makeconftest("import sys; sys.modules['grpclib'] = None")
    session.makepyfile("def test_it(boxd_emulator): pass")
    run(session, errors=1).stdout.fnmatch_lines(["*pip install 'boxd?emulator?'*"])


def test_the_fixtures_are_listed_with_what_they_are(session: pytest.Pytester) -> None:
    result = session.runpytest_subprocess("--fixtures")
    for name in ("emulator", "emulator_options", "client", "box", "async_client", "async_box"):
        result.stdout.fnmatch_lines([f"boxd_{name} *"])


def test_the_examples_of_the_guide(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[1] / "docs" / "testing.md").read_text()
    examples = re.findall(r"```python\n# (\S+)\n(.*?)```", text, re.DOTALL)
    assert len(examples) == text.count("```python\n")
    for name, code in examples:
        pytester.path.joinpath(name).write_text(code)
    run(pytester, passed=8)
