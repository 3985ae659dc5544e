import pytest
import torch
from torch import nn

from mmlevelset.errors import InputError
from mmlevelset.experiments.weights.loading import Weights, load_strictly, read_weights


def test_all_faults_are_in_one_message():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = model.state_dict()
    state["2.weight"] = state.pop("0.bias")
    state["0.weight"] = torch.zeros(3, 4)
    with pytest.raises(InputError) as error:
        load_strictly(model, Weights("some.pth", state))
    assert str(error.value) == (
        "the checkpoint some.pth is not of the config's model: 1 weight of the model missing in the"
        " checkpoint (0.bias); 1 weight of the checkpoint unknown to the model (2.weight); 1 weight"
        " of another shape (0.weight: (3, 4) in the checkpoint, (3, 2) in the model); models of"
        " other classes differ so"
    )


def test_weights_of_a_wrapper_are_those_of_its_model(tmp_path):
    model = nn.Linear(2, 3)
    state = {
        f"module.{name}": torch.full_like(value, 7) for name, value in model.state_dict().items()
    }
    torch.save(dict(state_dict=state), tmp_path / "x.pth")
    weights = read_weights(str(tmp_path / "x.pth"))
    load_strictly(model, weights)
    assert (model.weight == 7).all() and (model.bias == 7).all()


def test_many_faults_are_counted():
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(6)))
    with pytest.raises(InputError, match="missing in the checkpoint") as error:
        load_strictly(model, Weights("some.pth", {"x": torch.zeros(1)}))
    assert (
        "(0.weight, 0.bias, 1.weight, 1.bias, and 8 more); 1 weight of the checkpoint unknown"
        in str(error.value)
    )


def test_half_precision_becomes_the_precision_of_the_model():
    model = nn.BatchNorm1d(3)
    state = {
        name: value.half() if value.is_floating_point() else value + 2**40
        for name, value in model.state_dict().items()
    }
    state["running_var"][:] = 0.1
    load_strictly(model, Weights("some.pth", state))
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32, torch.int64}
    assert model.num_batches_tracked == 2**40
    assert model.running_var.tolist() == [float(torch.tensor(0.1).half())] * 3


@pytest.mark.parametrize(
    "content, message",
    [
        (b"no checkpoint", r"file\.pth cannot be read: "),
        (b"", r"file\.pth cannot be read: "),
        ([1, 2], "must hold a checkpoint, and holds a list"),
        ({"state_dict": {"a": 1}}, "holds no weights of a model"),
    ],
)
def test_a_file_that_is_no_checkpoint(tmp_path, content, message):
    path = tmp_path / "file.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match=message):
        read_weights(str(path))


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"x\.pth does not exist"):
        read_weights(str(tmp_path / "x.pth"))


def test_a_bare_state_dict(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "file.pth")
    found = read_weights(str(tmp_path / "file.pth"))
    assert found.state["a"].tolist() == [1, 1]
    assert found.classes is None and found.config_text is None and found.config_name == ""
