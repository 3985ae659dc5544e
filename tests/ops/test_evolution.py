import numpy as np
import pytest
import torch

from mmlevelset.ops import curvature, evolve_chan_vese
from tests.ops import naive

NAMES = ["phi0", "features", "lambda1", "lambda2", "mu", "eps", "dt"]


def example(regions=3, channels=4, height=7, width=9, steps=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(regions + 10 * channels + 100 * steps)

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=dtype)

    return dict(
        phi0=2 * draw(regions, height, width) - 1,
        features=2 * draw(regions, channels, height, width) - 1,
        lambda1=2 * draw(regions),
        lambda2=2 * draw(regions),
        mu=2 * draw(regions),
        eps=0.1 + draw(regions, steps),
        dt=draw(regions, steps),
    )


def oracle(values, **options):
    return torch.stack(
        [
            naive.evolve(*(values[name][m] for name in NAMES), **options)
            for m in range(len(values["phi0"]))
        ]
    )


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("printed", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 5, 1), (3, 4, 7, 9), (2, 5, 1, 6)])
def test_values_and_gradients_are_the_definition(shape, mean, printed):
    values = {k: v.requires_grad_() for k, v in example(*shape).items()}
    options = dict(
        reduction="mean" if mean else "sum", delta="printed" if printed else "derivative"
    )
    result = evolve_chan_vese(**values, **options)
    expected = oracle(values, mean=mean, printed=printed)
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-12)
    weight = torch.randn_like(result)
    inputs = list(values.values())
    got = torch.autograd.grad((result * weight).sum(), inputs)
    want = torch.autograd.grad((expected * weight).sum(), inputs)
    for name, one, other in zip(NAMES, got, want, strict=True):
        error = (one - other).norm() / other.norm().clamp(min=1e-9)
        assert error < 1e-10, f"gradient of {name}: relative error {error}"


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradcheck(reduction):
    values = [v.requires_grad_() for v in example(2, 2, 4, 3, 2).values()]
    assert torch.autograd.gradcheck(lambda *v: evolve_chan_vese(*v, reduction=reduction), values)


def test_trajectory():
    values = example()
    trajectory = evolve_chan_vese(**values, return_trajectory=True)
    assert trajectory.shape == (3, 4, 7, 9)
    assert torch.equal(trajectory[:, 0], values["phi0"])
    assert torch.equal(trajectory[:, -1], evolve_chan_vese(**values))
    shorter = values | dict(eps=values["eps"][:, :1], dt=values["dt"][:, :1])
    torch.testing.assert_close(trajectory[:, 1], evolve_chan_vese(**shorter))


def test_a_constant_added_to_the_features_changes_nothing():
    values = example(dtype=torch.float32)
    moved = values | dict(features=values["features"] + 64.0)
    torch.testing.assert_close(
        evolve_chan_vese(**values), evolve_chan_vese(**moved), rtol=0, atol=1e-4
    )


def test_exchanging_inside_and_outside_changes_the_sign():
    values = example()
    swapped = values | dict(
        phi0=-values["phi0"], lambda1=values["lambda2"], lambda2=values["lambda1"]
    )
    torch.testing.assert_close(evolve_chan_vese(**swapped), -evolve_chan_vese(**values))


def test_zero_time_is_the_identity():
    values = example()
    values["dt"] = torch.zeros_like(values["dt"])
    assert torch.equal(evolve_chan_vese(**values), values["phi0"])


def test_finds_a_square_from_a_rough_start():
    features = torch.zeros(1, 1, 20, 20)
    features[..., 5:15, 5:15] = 1
    truth = features[0, 0] > 0
    phi = torch.full((1, 20, 20), -0.1)
    phi[0, 3:11, 3:11] = 0.1
    one = torch.ones(1)
    result = evolve_chan_vese(
        phi, features, one, one, 0 * one, torch.ones(1, 20), torch.ones(1, 20)
    )
    assert torch.equal(result[0] > 0, truth)


@pytest.mark.parametrize("fill", ["inside", "outside", "constant features", "huge phi"])
def test_degenerate_regions_stay_finite(fill):
    values = example(dtype=torch.float32)
    if fill == "constant features":
        values["features"] = torch.full_like(values["features"], 3.0)
    elif fill == "huge phi":
        values["phi0"] = torch.full_like(values["phi0"], 1e18)
    else:
        values["phi0"] = torch.full_like(values["phi0"], 1.0 if fill == "inside" else -1.0)
    values = {k: v.requires_grad_() for k, v in values.items()}
    result = evolve_chan_vese(**values)
    result.sum().backward()
    assert result.isfinite().all()
    for name, value in values.items():
        assert value.grad.isfinite().all(), name


def test_no_regions_and_no_steps():
    values = {k: v.requires_grad_() for k, v in example(regions=0).items()}
    result = evolve_chan_vese(**values)
    assert result.shape == (0, 7, 9)
    result.sum().backward()
    values = example(steps=0)
    assert torch.equal(evolve_chan_vese(**values), values["phi0"])
    assert evolve_chan_vese(**values, return_trajectory=True).shape == (3, 1, 7, 9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features(dtype):
    values = example(dtype=torch.float32)
    values["features"] = values["features"].to(dtype).requires_grad_()
    result = evolve_chan_vese(**values)
    assert result.dtype == torch.float32
    exact = oracle({k: v.detach().double() for k, v in values.items()})
    torch.testing.assert_close(result.double(), exact, rtol=1e-4, atol=1e-5)
    result.sum().backward()
    assert values["features"].grad.dtype == dtype


def test_autocast_does_not_reach_it():
    values = example(dtype=torch.float32)
    plain = evolve_chan_vese(**values)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(evolve_chan_vese(**values), plain)


def test_non_contiguous_input():
    values = example()
    strided = {
        k: v.transpose(-1, -2).contiguous().transpose(-1, -2) if v.ndim > 1 else v
        for k, v in values.items()
    }
    torch.testing.assert_close(evolve_chan_vese(**strided), evolve_chan_vese(**values))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(phi0=torch.zeros(9)), ValueError, r"phi0 must have shape \(..., H, W\)"),
        (dict(phi0=torch.zeros(7, 9)), ValueError, r"features must have shape \(C, 7, 9\)"),
        (dict(features=torch.zeros(3, 4, 9, 7)), ValueError, r"features must have shape \(3, C, 7"),
        (dict(lambda1=torch.zeros(2)), ValueError, r"lambda1 must have shape \(3\)"),
        (dict(mu=torch.zeros(3, 1)), ValueError, "mu must have shape"),
        (dict(eps=torch.ones(3, 1, 1)), ValueError, r"eps must have shape \(3, N\)"),
        (dict(dt=torch.ones(3, 2)), ValueError, r"dt must have shape \(3, 3\)"),
        (dict(features=torch.zeros(3, 4, 7, 9).int()), TypeError, "features must be floating"),
        (dict(lambda2="1"), TypeError, "lambda2 must be a number, but is str"),
        (dict(lambda2=-1.0), ValueError, "lambda2 must be non-negative and finite, but is -1.0"),
        (dict(eps=1.0, dt=1.0), ValueError, "steps must be given where eps and dt are numbers"),
        (dict(steps=2), ValueError, "steps must be 3, the number of steps of eps, .* but is 2"),
        (dict(eps=torch.full((3, 3), 1e-24)), ValueError, r"eps must lie in \[1e-12, 1e12\]"),
        (dict(mu=torch.zeros(3, device="meta")), ValueError, "on one device.*mu on meta"),
        (dict(features=torch.zeros(3, 0, 7, 9)), ValueError, "at least one channel"),
        (dict(reduction="max"), ValueError, "reduction must be 'mean' or 'sum'"),
        (dict(delta="exact"), ValueError, "delta must be"),
        (dict(backend="cuda"), ValueError, "backend must be"),
        (dict(eps=torch.full((3, 3), -0.5)), ValueError, r"eps must be positive.*-0.5 at index"),
        (dict(dt=torch.full((3, 3), -0.5)), ValueError, "dt must not be negative.*-0.5"),
        (dict(eta=0.0), ValueError, "eta must be at least 1e-20"),
    ],
)
def test_bad_input_is_named(change, error, message):
    with pytest.raises(error, match=message):
        evolve_chan_vese(**(example() | change))


@pytest.mark.parametrize("name", NAMES)
def test_values_that_are_not_finite_are_named_when_asked(name):
    values = example()
    values[name].view(-1)[1] = float("nan")
    values[name].view(-1)[2] = float("inf")
    evolve_chan_vese(**values)
    with pytest.raises(ValueError, match=f"{name} must be finite, but has 1 NaN and 1 infinite"):
        evolve_chan_vese(**values, check_finite=True)


def test_second_derivatives_are_refused():
    values = {k: v.requires_grad_() for k, v in example().items()}
    (grad,) = torch.autograd.grad(
        evolve_chan_vese(**values).sum(), values["phi0"], create_graph=True
    )
    with pytest.raises(RuntimeError, match="evolve_chan_vese_backward"):
        grad.sum().backward()


def test_numbers_are_tensors_of_that_number():
    values = example(steps=4)
    phi0, features = values["phi0"], values["features"]
    expected = evolve_chan_vese(
        phi0,
        features,
        *(torch.full((3,), value, dtype=torch.float64) for value in (0.7, 1.2, 0.1)),
        *(torch.full((3, 4), value, dtype=torch.float64) for value in (0.9, 0.4)),
    )
    numbers = (0.7, 1.2, 0.1, 0.9, 0.4)
    found = evolve_chan_vese(phi0, features, *numbers, steps=4)
    # Some processors round expanded and dense tensors differently; among themselves both are equal.
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    schedule = torch.full((4,), 0.4, dtype=torch.float64)
    assert torch.equal(evolve_chan_vese(phi0, features, *numbers[:4], schedule), found)
    one = evolve_chan_vese(phi0[1], features[1], *numbers, steps=4)
    torch.testing.assert_close(one, expected[1])
    arrays = evolve_chan_vese(phi0.numpy(), features.numpy(), *numbers, steps=4)
    assert isinstance(arrays, np.ndarray)
    np.testing.assert_array_equal(arrays, found.numpy())
    all_steps = evolve_chan_vese(
        phi0[None], features[None], *numbers, steps=4, return_trajectory=True
    )
    assert all_steps.shape == (1, 3, 5, *phi0.shape[1:])


def volumes():
    generator = torch.Generator().manual_seed(5)

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    return dict(
        phi0=draw(2, 4, 3, 5) * 2 - 1,
        features=draw(2, 2, 4, 3, 5),
        lambda1=draw(2),
        lambda2=draw(2),
        mu=draw(2),
        eps=0.3 + draw(2, 2),
        dt=draw(2, 2),
    )


def test_volumes_follow_the_equations():
    """With the tested curvature of volumes, and means over all voxels."""
    values, spacing = volumes(), (2.5, 1.0, 0.8)
    phi = values["phi0"]
    for n in range(2):
        eps, dt = (values[name][:, n, None, None, None] for name in ("eps", "dt"))
        inside = naive.heaviside(phi, eps)
        first, second = (
            (values["features"] * share[:, None]).sum((2, 3, 4), keepdim=True)
            / share[:, None].sum((2, 3, 4), keepdim=True)
            for share in (inside, 1 - inside)
        )
        lambda1, lambda2, mu = (
            values[name][:, None, None, None] for name in ("lambda1", "lambda2", "mu")
        )
        force = mu * curvature(phi, spacing=spacing)
        force = force - lambda1 * (values["features"] - first).square().mean(1)
        force = force + lambda2 * (values["features"] - second).square().mean(1)
        phi = phi + dt * naive.printed_delta(phi, eps) * force
    torch.testing.assert_close(evolve_chan_vese(**values, spacing=spacing), phi)
    leaves = {name: value.requires_grad_() for name, value in values.items()}
    assert torch.autograd.gradcheck(
        lambda *given: evolve_chan_vese(*given, spacing=spacing),
        tuple(leaves.values()),
        fast_mode=True,
    )


def test_without_curvature_equal_slices_evolve_as_one():
    values = example()
    values["mu"].zero_()
    slices = evolve_chan_vese(**values)
    tall = dict(
        values,
        phi0=values["phi0"][:, None].expand(-1, 4, -1, -1),
        features=values["features"][:, :, None].expand(-1, -1, 4, -1, -1),
    )
    got = evolve_chan_vese(**tall, spacing=(3, 1, 1))
    torch.testing.assert_close(got, slices[:, None].expand_as(got))
    with pytest.raises(RuntimeError, match="take square pixels of side 1"):
        evolve_chan_vese(**tall, spacing=(3, 1, 1), backend="triton")


@pytest.mark.parametrize("eps", [1e-12, 1e12])
def test_gradients_at_the_ends_of_the_documented_eps(eps):
    values = {k: v.float() for k, v in example().items()} | dict(eps=torch.full((3, 3), eps))
    values["phi0"][0, 0, :3] = 0.0
    leaves = [value.requires_grad_() for value in values.values()]
    for gradient in torch.autograd.grad(evolve_chan_vese(*leaves).sum(), leaves):
        assert gradient.isfinite().all()
