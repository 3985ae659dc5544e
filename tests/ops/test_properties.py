"""Properties of the ops that hold for every input."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlevelset.ops import (
    contour_length,
    curvature,
    evolve_chan_vese,
    region_energy,
    region_means,
    signed_distance,
)

examples = settings(max_examples=40, deadline=None, derandomize=True)
sizes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
seeds = st.integers(0, 10**6)
dtypes = st.sampled_from([torch.float32, torch.float64])


@st.composite
def regions(draw, dtype=dtypes, scales=(1e-3, 1.0, 1e4), offsets=(0.0, -7.5, 1e3)):
    """Features (M, C, H, W), indicators that may be 0, 1 or nearly so, and a domain."""
    count, channels, height, width = draw(sizes)
    dtype = draw(dtype)
    generator = torch.Generator().manual_seed(draw(seeds))

    def random(*shape):
        return torch.rand(*shape, generator=generator, dtype=dtype)

    features = random(count, channels, height, width) - 0.5
    features = draw(st.sampled_from(offsets)) + draw(st.sampled_from(scales)) * features
    steepness = draw(st.sampled_from([0.5, 10.0, 1e4]))
    shift = draw(st.sampled_from([0.5, 0.0, 1.0, 20.0, -20.0]))
    inside = torch.sigmoid(steepness * (random(count, height, width) - shift))
    domain = random(count, height, width)
    domain[domain < draw(st.sampled_from([0.0, 0.5, 1.0]))] = 0
    return features, inside, domain


def evolution(features, seed, steps=2):
    """Arguments of an evolution besides the features."""
    generator = torch.Generator().manual_seed(seed)
    count, _, height, width = features.shape
    options = dict(generator=generator, dtype=features.dtype)
    return dict(
        phi0=torch.randn(count, height, width, **options),
        **{name: torch.rand(count, **options) for name in ("lambda1", "lambda2", "mu")},
        eps=0.2 + torch.rand(count, steps, **options),
        dt=torch.rand(count, steps, **options),
    )


@examples
@given(regions(scales=(1e-3, 1.0, 1e4, 1e15), offsets=(0.0, 1e3, -1e8)), st.booleans())
def test_energy_is_never_negative(region, shared):
    features, inside, domain = region
    features = features[0] if shared else features
    energy = region_energy(features, inside, domain, 0.3, 2.0)
    assert energy.isfinite().all() and (energy >= 0).all()
    # Features without variation in the domain: only rounding decides the sign.
    within = domain.amax(0, keepdim=True) > 0
    constant = torch.where(within[0] if shared else within, features[..., :1, :1], -features)
    assert (region_energy(constant, inside, domain) >= 0).all()


@examples
@given(regions(), st.booleans())
def test_swapping_inside_and_outside_swaps_the_means_and_the_weights(region, with_domain):
    features, inside, domain = region
    domain = domain if with_domain else None
    outside = 1 - inside
    inside = 1 - outside  # rounded alike
    c1, c2 = region_means(features, inside, domain)
    swapped = region_means(features, outside, domain)
    torch.testing.assert_close((c2, c1), swapped)
    torch.testing.assert_close(
        region_energy(features, inside, domain, 0.3, 2.0),
        region_energy(features, outside, domain, 2.0, 0.3),
    )


@examples
@given(regions(scales=(1.0,), offsets=(0.0,)), st.sampled_from([-3.0, 128.0]), st.booleans())
def test_a_constant_added_to_all_features_shifts_the_means_only(region, constant, shared):
    features, inside, domain = region
    features = (features * 2**12).round() / 2**12  # so that the sum is exact
    features = features[0] if shared else features
    for one, other in zip(
        region_means(features, inside, domain),
        region_means(features + constant, inside, domain),
        strict=True,
    ):
        area = torch.stack([(domain * part).sum((1, 2)) for part in (inside, 1 - inside)])
        there = area.amin(0) > 1e-5
        torch.testing.assert_close(other[there], one[there] + constant, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        region_energy(features + constant, inside, domain),
        region_energy(features, inside, domain),
        rtol=1e-5,
        atol=1e-7,
    )


@examples
@given(
    regions(dtype=st.just(torch.float64), scales=(1.0,), offsets=(0.0,)),
    st.sampled_from([-3.0, 128.0]),
    seeds,
)
def test_a_constant_added_to_all_features_does_not_change_the_evolution(region, constant, seed):
    features = region[0]
    arguments = evolution(features, seed)
    torch.testing.assert_close(
        evolve_chan_vese(features=features + constant, **arguments),
        evolve_chan_vese(features=features, **arguments),
        rtol=1e-6,
        atol=1e-8,
    )


@examples
@given(regions(), st.booleans())
def test_means_lie_within_the_range_of_the_features(region, shared):
    features, inside, domain = region
    features = features[0] if shared else features
    low, high = features.amin((-2, -1)), features.amax((-2, -1))
    slack = torch.finfo(features.dtype).eps * torch.maximum(low.abs(), high.abs())
    for part, mean in zip(
        (inside, 1 - inside), region_means(features, inside, domain), strict=True
    ):
        there = (domain * part).sum((1, 2)) > 1e-4
        assert (((mean >= low - slack) & (mean <= high + slack))[there]).all()


@examples
@given(regions(), seeds, st.sampled_from(["mean", "sum"]))
def test_evolution_without_time_is_the_identity(region, seed, reduction):
    features = region[0]
    arguments = evolution(features, seed)
    arguments["dt"].zero_()
    result = evolve_chan_vese(features=features, **arguments, reduction=reduction)
    assert torch.equal(result, arguments["phi0"])


@examples
@given(regions(dtype=st.just(torch.float64), scales=(1.0,)), seeds)
def test_swapping_inside_and_outside_negates_the_evolution(region, seed):
    features = region[0]
    arguments = evolution(features, seed)
    swapped = dict(
        arguments,
        phi0=-arguments["phi0"],
        lambda1=arguments["lambda2"],
        lambda2=arguments["lambda1"],
    )
    torch.testing.assert_close(
        evolve_chan_vese(features=features, **swapped),
        -evolve_chan_vese(features=features, **arguments),
    )


@examples
@given(sizes, st.floats(0, 1), st.sampled_from([None, 0.75, 3.0]), seeds)
def test_signed_distance(size, share, truncation, seed):
    count, _, height, width = size
    mask = torch.rand(count, height, width, generator=torch.Generator().manual_seed(seed)) < share
    distance = signed_distance(mask, truncation)
    assert torch.equal(distance > 0, mask) and (distance != 0).all()
    assert torch.equal(signed_distance(~mask, truncation), -distance)
    assert torch.equal(signed_distance(mask.flip(1), truncation), distance.flip(1))
    turned = signed_distance(mask.transpose(1, 2), truncation)
    assert torch.equal(turned, distance.transpose(1, 2))
    pixels = distance * (truncation or 1)
    largest = height + width if truncation is None else truncation
    assert (pixels.abs() >= min(0.5, largest)).all() and (pixels.abs() <= largest).all()
    # The distance changes by at most one between neighbours, by exactly one across the boundary.
    for axis in (1, 2):
        assert (pixels.diff(dim=axis).abs() <= 1 + 1e-5).all()
        across = mask.diff(dim=axis)
        torch.testing.assert_close(
            pixels.diff(dim=axis)[across].abs(), torch.ones(int(across.sum()))
        )


@examples
@given(sizes, seeds, st.booleans())
def test_contour_length_does_not_depend_on_the_orientation(size, seed, isotropic):
    count, _, height, width = size
    generator = torch.Generator().manual_seed(seed)
    inside = torch.rand(count, height, width, generator=generator, dtype=torch.float64)
    length = contour_length(inside, isotropic)
    assert (length >= 0).all()
    torch.testing.assert_close(contour_length(inside.transpose(1, 2), isotropic), length)
    torch.testing.assert_close(contour_length(1 - inside, isotropic), length)
    torch.testing.assert_close(contour_length(3 * inside, isotropic), 3 * length)
    if not isotropic:  # a flip separates the two forward differences of a pixel
        for axis in (1, 2):
            torch.testing.assert_close(contour_length(inside.flip(axis)), length)


@examples
@given(sizes, seeds, st.sampled_from([1e-8, 1e-4, 1.0]))
def test_curvature_is_antisymmetric_and_does_not_depend_on_the_orientation(size, seed, eta):
    count, _, height, width = size
    generator = torch.Generator().manual_seed(seed)
    phi = torch.randn(count, height, width, generator=generator, dtype=torch.float64)
    kappa = curvature(phi, eta)
    assert torch.equal(curvature(-phi, eta), -kappa)
    for turn in (lambda x: x.flip(1), lambda x: x.flip(2), lambda x: x.transpose(1, 2)):
        torch.testing.assert_close(curvature(turn(phi), eta), turn(kappa))
    torch.testing.assert_close(curvature(phi + 3, eta), kappa, rtol=1e-5, atol=1e-7)
    assert (kappa.abs() <= 2 + 1e-9).all()  # each derivative of a unit vector is at most 1
