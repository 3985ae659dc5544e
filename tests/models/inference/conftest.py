import pytest

from tests.models.inference.builders import real_detectors


@pytest.fixture(scope="package")
def detectors():
    """A detector of each kind by its name; a test that changes settings must restore them."""
    return real_detectors()
