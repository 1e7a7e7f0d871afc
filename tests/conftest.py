"""What every test runs on: the event loop, hypothesis, and a word to async tests that have no loop."""

from inspect import iscoroutinefunction

import pytest
from hypothesis import settings

pytest_plugins = ["tests.servers.fixtures"]
pytest.register_assert_rewrite("tests.brokers.contract")

# A shared machine is too noisy for a deadline per example; each test as a whole has its timeout.
settings.register_profile("headrace", settings.get_profile("default"), deadline=None)
if settings.get_current_profile_name() == "default":
    settings.load_profile("headrace")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the whole suite be run on the other event loop too."""
    parser.addoption("--uvloop", action="store_true", help="Run async tests on uvloop in place of asyncio's loop.")


@pytest.fixture(scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The loop that tests marked `anyio` run on; tests/actors/ has trio beside it."""
    return "asyncio", {"use_uvloop": request.config.getoption("--uvloop")}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail an async test that nothing would run, and say what it lacks."""
    if not isinstance(item, pytest.Function) or "anyio_backend" in item.fixturenames:
        return
    hypothesis = getattr(item.obj, "hypothesis", None)
    if iscoroutinefunction(hypothesis.inner_test if hypothesis else item.obj):
        pytest.fail(
            f"{item.nodeid} is async and has no event loop: put `pytestmark = pytest.mark.anyio` "
            "below the imports of its module.",
            pytrace=False,
        )
