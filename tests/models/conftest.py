import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def _one_thread_and_mmdet_scope():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # maps this small are slower on several
    with DefaultScope.overwrite_default_scope("mmdet"):
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def iteration():
    """Set the iteration of mmengine's runner; None: no runner."""
    hub = MessageHub.get_current_instance()
    before = hub.get_info("iter")
    yield lambda value: hub.update_info("iter", value)
    hub.update_info("iter", before)
