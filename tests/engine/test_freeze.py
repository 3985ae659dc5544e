import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmlevelset.engine import FreezeHook


class Model(BaseModel):
    """Two parts with batch normalisation and dropout each."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.head = nn.ModuleDict(
            dict(refinement=nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1)))
        )
        self.modes: list[tuple[bool, ...]] = []

    def forward(self, inputs, mode="tensor"):
        normed = [module for module in self.modules() if not list(module.children())]
        self.modes.append(
            tuple(m.training for m in normed if isinstance(m, nn.BatchNorm1d | nn.Dropout))
        )
        refined = self.head["refinement"](self.body(inputs))
        return dict(loss=(refined - 1).square().mean()) if mode == "loss" else refined


def train(tmp_path, hook):
    torch.manual_seed(0)
    model = Model()
    before = copy.deepcopy(model.state_dict())
    data = [dict(inputs=torch.randn(3)) for _ in range(8)]
    Runner(
        model,
        work_dir=str(tmp_path),
        train_dataloader=dict(
            dataset=data,
            batch_size=4,
            sampler=dict(type="DefaultSampler", shuffle=False),
            collate_fn=dict(type="default_collate"),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.1, weight_decay=0.5)),
        custom_hooks=[hook],
        default_scope="mmengine",
        experiment_name=str(tmp_path),
        log_level="WARNING",
    ).train()
    return model, before


def test_the_named_part_alone_is_trained(tmp_path):
    hook = dict(type="mmlevelset.FreezeHook", trained=("refinement",))
    model, before = train(tmp_path, hook)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) != ("refinement" in name), name
    assert all(parameter.grad is None for parameter in model.body.parameters())
    assert model.modes == [(False, False, True)] * 4  # the body's norm and dropout, the head's norm


@pytest.mark.parametrize("trained", ["refinement", (), (3,), None])
def test_names_must_be_a_list(trained):
    with pytest.raises(ValueError, match="trained must be a list of submodules' names, but is"):
        FreezeHook(trained)


@pytest.mark.parametrize("trained", [("refinements",), ("refinement", "weight")])
def test_a_name_that_is_no_part(trained):
    with pytest.raises(ValueError, match=f"but the model has none named '{trained[-1]}'"):
        FreezeHook(trained).before_train(SimpleNamespace(model=Model()))


def test_distributed_models_must_look_for_unused_parameters(monkeypatch):
    class Wrapped(nn.Module):
        def __init__(self, find):
            super().__init__()
            self.module, self.find_unused_parameters = Model(), find

    monkeypatch.setattr("mmlevelset.engine.freeze.DistributedDataParallel", Wrapped)
    monkeypatch.setattr("mmlevelset.engine.freeze.is_model_wrapper", lambda model: True)
    hook = FreezeHook(("refinement",))
    with pytest.raises(ValueError, match="find_unused_parameters must be True"):
        hook.before_train(SimpleNamespace(model=Wrapped(False)))
    wrapped = Wrapped(True)
    hook.before_train(SimpleNamespace(model=wrapped))
    trained = [name for name, p in wrapped.module.named_parameters() if p.requires_grad]
    assert trained and all("refinement" in name for name in trained)
