import logging

import pytest
from mmengine.logging import MMLogger


@pytest.fixture
def log():
    """The messages, from INFO on, that reach mmengine's current logger, as they come."""
    messages = []

    class Handler(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    logger = MMLogger.get_current_instance()
    handler = Handler(logging.INFO)
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
