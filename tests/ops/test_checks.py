import pytest
import torch

from mmlevelset.ops.checks import check_finite, check_positive


def test_finite_and_positive_tensors_pass():
    fine = torch.rand(2, 3, requires_grad=True) + 1
    check_finite(one=fine, none=None, empty=torch.zeros(0, 3), half=fine.half())
    check_positive(one=fine, none=None, empty=torch.zeros(0, 3), scalar=torch.tensor(0.1))


def test_not_finite_is_counted_and_located():
    values = torch.zeros(2, 3, 4)
    values[1, 0, 2] = values[1, 2, 3] = float("nan")
    values[1, 1, 0] = -float("inf")
    message = r"features must be finite, but has 2 NaN and 1 infinite values, .* \(1, 0, 2\)"
    with pytest.raises(ValueError, match=message):
        check_finite(inside=torch.ones(3), features=values.requires_grad_())


@pytest.mark.parametrize(("value", "shown"), [(0.0, "0"), (-1.5, "-1.5"), (float("nan"), "nan")])
def test_not_positive_is_located(value, shown):
    eps = torch.ones(2, 3)
    eps[1, 2] = value
    message = rf"eps must be positive, but its smallest value is {shown} at index \(1, 2\)"
    with pytest.raises(ValueError, match=message):
        check_positive(dt=torch.ones(2), eps=eps.requires_grad_())
