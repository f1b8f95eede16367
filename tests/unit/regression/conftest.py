import jaxtyping
import pytest


@pytest.fixture
def types_unchecked():
    """Run as users do, without shape checks: for tests that hand over wrong types or shapes to see our own errors."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
