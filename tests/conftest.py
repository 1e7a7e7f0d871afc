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


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The loop that tests marked `anyio` run on; tests/actors/ has trio beside it."""
    return "asyncio"


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
