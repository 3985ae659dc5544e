import pytest
import torch

from mmlevelset.ops import region_energy, region_means
from tests.ops import naive


def example(shared=False, dtype=torch.float64, offset=0.0):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(*(() if shared else (3,)), 4, 7, 5, generator=generator, dtype=dtype)
    inside = torch.rand(3, 7, 5, generator=generator, dtype=dtype)
    domain = torch.rand(3, 7, 5, generator=generator, dtype=dtype)
    return features + offset, inside, domain


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("with_domain", [False, True])
def test_is_the_definition(shared, with_domain):
    features, inside, domain = example(shared)
    domain = domain if with_domain else None
    lambda1, lambda2 = torch.rand(2, 3, dtype=torch.float64)
    c1, c2 = region_means(features, inside, domain)
    energy = region_energy(features, inside, domain, lambda1, lambda2)
    for m in range(3):
        own = features if shared else features[m]
        own_domain = domain[m] if with_domain else None
        first, second = naive.means(own, inside[m], own_domain)
        torch.testing.assert_close(c1[m], first)
        torch.testing.assert_close(c2[m], second)
        expected = naive.energy(own, inside[m], own_domain, lambda1[m], lambda2[m])
        torch.testing.assert_close(energy[m], expected)


@pytest.mark.parametrize("shared", [False, True])
def test_gradients(shared):
    features, inside, domain = (x[..., :3, :2].requires_grad_() for x in example(shared))
    lambdas = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(region_means, (features, inside, domain))
    assert torch.autograd.gradcheck(
        lambda f, i, d, w: region_energy(f, i, d, w[0], w[1]), (features, inside, domain, lambdas)
    )


def test_does_not_cancel_in_float32():
    features, inside, _ = example(dtype=torch.float64)
    features = 100 + 0.01 * features
    expected = torch.stack([naive.energy(f, i) for f, i in zip(features, inside, strict=True)])
    single = features.float()
    rounded = torch.stack(
        [naive.energy(f, i) for f, i in zip(single.double(), inside, strict=True)]
    )
    torch.testing.assert_close(
        region_energy(single, inside.float()).double(), rounded, rtol=1e-4, atol=0
    )
    torch.testing.assert_close(rounded, expected, rtol=1e-2, atol=0)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_region_empty(value):
    features, _, _ = example()
    inside = torch.full((3, 7, 5), value, dtype=torch.float64, requires_grad=True)
    features.requires_grad_()
    c1, c2 = region_means(features, inside)
    energy = region_energy(features, inside)
    (c1.sum() + c2.sum() + energy.sum()).backward()
    full, empty = (c1, c2) if value else (c2, c1)
    torch.testing.assert_close(full, features.mean((2, 3)))
    assert (empty == 0).all()
    for tensor in (energy, inside.grad, features.grad):
        assert tensor.isfinite().all()


def test_constant_features_have_no_energy():
    inside = torch.rand(2, 6, 6)
    torch.testing.assert_close(
        region_energy(torch.full((3, 6, 6), 7.0), inside), torch.zeros(2), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_summed_in_float32(dtype):
    features, inside, domain = example(shared=True)
    features = features.to(dtype)
    energy = region_energy(features, inside.float(), domain.float())
    assert energy.dtype == torch.float32
    exact = region_energy(features.double(), inside, domain)
    torch.testing.assert_close(energy.double(), exact, rtol=1e-5, atol=0)


def test_autocast_does_not_reach_the_sums():
    features, inside, _ = example(dtype=torch.float32)
    plain = region_energy(features, inside), *region_means(features, inside)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = region_energy(features, inside), *region_means(features, inside)
    for one, other in zip(plain, cast, strict=True):
        assert torch.equal(one, other)


def test_no_regions():
    assert region_energy(torch.zeros(4, 7, 5), torch.zeros(0, 7, 5)).shape == (0,)
    c1, c2 = region_means(torch.zeros(0, 4, 7, 5), torch.zeros(0, 7, 5))
    assert c1.shape == c2.shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(features=torch.zeros(3, 4, 7, 6)), ValueError, r"features must have shape \(3, C"),
        (dict(features=torch.zeros(4, 6, 5)), ValueError, r"features must have shape \(C, 7, 5"),
        (dict(inside=torch.zeros(7, 5)), ValueError, r"inside must have shape \(M, H, W\)"),
        (dict(domain=torch.zeros(1, 7, 5)), ValueError, r"domain must have shape \(3, 7, 5\)"),
        (dict(inside=torch.zeros(3, 7, 5).bool()), TypeError, "inside must be floating point"),
        (dict(features=torch.zeros(4, 7, 5).int()), TypeError, "features must be floating point"),
        (dict(domain=torch.zeros(3, 7, 5, device="meta")), ValueError, "on one device"),
    ],
)
def test_bad_input_is_named(change, error, message):
    given = dict(features=torch.zeros(3, 4, 7, 5), inside=torch.zeros(3, 7, 5), domain=None)
    for function in (region_means, region_energy):
        with pytest.raises(error, match=message):
            function(**(given | change))
