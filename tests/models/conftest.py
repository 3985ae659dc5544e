import pytest
import torch
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def _one_thread_and_mmdet_scope():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # maps this small are slower on several
    with DefaultScope.overwrite_default_scope("mmdet"):
        yield
    torch.set_num_threads(threads)
