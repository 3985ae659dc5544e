import pytest
import torch

from mmlevelset.ops import region, region_energy, region_means
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


def in_float64(features, inside, domain, lambda1=1.0, lambda2=1.0):
    """The oracle's energies, and their gradients with respect to features and inside."""
    features, inside = (x.double().requires_grad_() for x in (features, inside))
    energy = torch.stack(
        [
            naive.energy(features if features.ndim == 3 else features[m], h, b, lambda1, lambda2)
            for m, (h, b) in enumerate(zip(inside, domain.double(), strict=True))
        ]
    )
    return energy.detach(), *torch.autograd.grad(energy.sum(), (features, inside))


def relative_error(got, want):
    return ((got.double() - want).norm() / want.norm()).item()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("lambdas", [(1.0, 1.0), (0.3, 1.7)])
def test_does_not_cancel_in_float32(shared, lambdas):
    """A small box of mean 100 and deviation 0.01 in a map of mean 0 and deviation 10."""
    generator = torch.Generator().manual_seed(2)
    features = 10 * torch.randn(4, 41, 53, generator=generator)
    features[:, 7:16, 20:31] = 100 + 0.01 * torch.randn(4, 9, 11, generator=generator)
    inside = torch.rand(3, 41, 53, generator=generator)
    domain = torch.zeros(3, 41, 53)
    domain[:, 7:16, 20:31] = 1
    domain[2] = 1
    if not shared:
        features = features.repeat(3, 1, 1, 1)
    expected = in_float64(features, inside, domain, *lambdas)
    assert expected[0][0] < 1e-6 * expected[0][2]
    features.requires_grad_()
    inside.requires_grad_()
    energy = region_energy(features, inside, domain, *lambdas)
    gradients = torch.autograd.grad(energy[:2].sum(), (features, inside), retain_graph=True)
    torch.testing.assert_close(energy.double(), expected[0], rtol=1e-6, atol=0)
    assert relative_error(gradients[1][:2], expected[2][:2]) < 1e-6
    both = torch.autograd.grad(energy.sum(), (features, inside))
    assert relative_error(both[0], expected[1]) < 1e-6
    assert relative_error(both[1], expected[2]) < 1e-6


def test_holds_nothing_of_the_size_of_regions_times_channels():
    regions, channels, height, width = 24, 16, 64, 128
    features = torch.randn(channels, height, width, requires_grad=True)
    inside = torch.rand(regions, height, width, requires_grad=True)
    domain = torch.rand(regions, height, width)
    with torch.profiler.profile(profile_memory=True) as profile:
        region_energy(features, inside, domain).sum().backward()
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    assert inside.grad.nbytes < peak < regions * channels * height * width * 4


@pytest.mark.parametrize("limits", [(1, 4), (40, 4), (200, 16), (10**6, 8), (10**6, None)])
@pytest.mark.parametrize("shared", [False, True])
def test_pieces_and_segments_change_nothing(monkeypatch, limits, shared):
    features, inside, domain = (x.requires_grad_() for x in example(shared))
    arguments = features, inside, domain
    expected = region_energy(*arguments)
    gradients = torch.autograd.grad(expected.sum(), arguments)
    monkeypatch.setattr(region, "_limits", lambda device: limits)
    got = region_energy(*arguments)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.autograd.grad(got.sum(), arguments), gradients)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("with_domain", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_custom_op(shared, with_domain, dtype):
    features, inside, domain = (x.detach() for x in example(shared))
    features = features.to(dtype).requires_grad_()
    inside = inside.float().requires_grad_()
    domain = domain.float().requires_grad_() if with_domain else None
    centre = features.detach().double().mean((-2, -1))
    for options in ((None, False), (centre, True)):
        torch.library.opcheck(region._region_sums, (features, inside, domain, *options))


def test_compiles_to_one_graph():
    features, inside, domain = (x.float().requires_grad_() for x in example(shared=True))
    arguments = features.detach().requires_grad_(), inside.detach().requires_grad_()
    compiled = torch.compile(region_energy, fullgraph=True, backend="aot_eager")
    for function in (compiled, region_energy):
        energy = function(*arguments, domain.detach(), 0.5)
        result = energy, *torch.autograd.grad(energy.sum(), arguments)
        if function is compiled:
            expected = result
    torch.testing.assert_close(result, expected, rtol=0, atol=0)


def test_gradients_reach_only_what_asks_for_them():
    features, inside, domain = example(shared=True)
    every = [x.clone().requires_grad_() for x in (features, inside, domain)]
    expected = torch.autograd.grad(region_energy(*every).sum(), every)
    for i in range(3):
        arguments = [features, inside, domain]
        arguments[i] = arguments[i].clone().requires_grad_()
        region_energy(*arguments).sum().backward()
        torch.testing.assert_close(arguments[i].grad, expected[i])


def test_second_derivatives_are_refused():
    features, inside, _ = example(shared=True)
    inside.requires_grad_()
    (gradient,) = torch.autograd.grad(
        region_energy(features, inside).sum(), inside, create_graph=True
    )
    with pytest.raises(RuntimeError, match="no autograd formula"):
        gradient.sum().backward()


def test_non_contiguous_input():
    features, inside, domain = example()
    arguments = features, inside, domain
    turned = [
        x.transpose(-2, -1).contiguous().transpose(-2, -1).requires_grad_() for x in arguments
    ]
    straight = [x.clone().requires_grad_() for x in arguments]
    one, other = region_energy(*turned), region_energy(*straight)
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(
        torch.autograd.grad(one.sum(), turned), torch.autograd.grad(other.sum(), straight)
    )
    expanded = domain[:1].expand(3, 7, 5)
    torch.testing.assert_close(
        region_energy(features, inside, expanded),
        region_energy(features, inside, expanded.contiguous()),
    )


@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_area_below_the_clamp(offset):
    """The definition with clamped areas, in which the area of the inside is a constant."""
    features, inside, _ = example(offset=offset)
    inside = (inside * 1e-8).requires_grad_()
    features.requires_grad_()
    energy = region_energy(features, inside)
    centred = features - features.detach().mean((2, 3), keepdim=True)
    expected = []
    for f, h in zip(centred, inside, strict=True):
        first = (f * h).sum((1, 2)) / region.MINIMUM_AREA
        second = (f * (1 - h)).sum((1, 2)) / (1 - h).sum()
        distances = [(f - c[:, None, None]).square().sum(0) for c in (first, second)]
        expected.append((h * distances[0] + (1 - h) * distances[1]).sum())
    expected = torch.stack(expected)
    torch.testing.assert_close(energy, expected)
    torch.testing.assert_close(
        torch.autograd.grad(energy.sum(), (features, inside)),
        torch.autograd.grad(expected.sum(), (features, inside)),
    )


@pytest.mark.parametrize("shared", [False, True])
def test_empty_domain(shared):
    features, inside, _ = (x.requires_grad_() for x in example(shared))
    domain = torch.zeros(3, 7, 5, dtype=torch.float64, requires_grad=True)
    energy = region_energy(features, inside, domain)
    assert (energy == 0).all()
    energy.sum().backward()
    assert (features.grad == 0).all() and (inside.grad == 0).all()
    assert domain.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_masks_on_flat_images_have_their_gradient(dtype):
    """Rounding makes the energy negative in about half of these; the gradient is |a - b|^2."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    for _ in range(30):
        centre = 12 + 40 * torch.rand(2, generator=generator)
        disc = torch.hypot(x - centre[0], y - centre[1]) < 10
        first, second = torch.rand(2, generator=generator, dtype=dtype)
        image = torch.where(disc, first, second)[None]
        inside = disc[None].to(dtype).requires_grad_()
        region_energy(image, inside).sum().backward()
        step = (first - second) ** 2
        expected = torch.where(disc, -step, step)[None]
        torch.testing.assert_close(inside.grad, expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shared", [False, True])
def test_squares_beyond_the_type_have_no_gradient_outside_of_the_domain(dtype, shared):
    features = torch.tensor([0.0, 100, 255] if dtype == torch.float16 else [0.0, 1e25, -3e30])
    features = features.to(dtype).view(1, 1, 1, 3)[slice(0, 1) if not shared else 0]
    inside = torch.tensor([[[0.9, 0.1, 0.5]]], dtype=dtype, requires_grad=True)
    domain = torch.tensor([[[1.0, 1, 0]]], dtype=dtype)
    region_energy(features, inside, domain).sum().backward()
    assert not inside.grad.isnan().any() and inside.grad[0, 0, 2] == 0


@pytest.mark.parametrize("shared", [False, True])
def test_volumes_are_images_of_their_slices(shared):
    features, inside, domain = example(shared)
    tall = [
        x.reshape(*x.shape[:-2], 7, 5, 1).expand(*x.shape[:-2], 7, 5, 2) for x in example(shared)
    ]
    spacing = (2.0, 0.5, 3.0)
    for one, other in zip(
        region_means(*tall, spacing=spacing), region_means(features, inside, domain), strict=True
    ):
        torch.testing.assert_close(one, other)
    energy = region_energy(*tall, 0.5, 2.0, spacing=spacing)
    torch.testing.assert_close(energy, 2 * 3.0 * region_energy(features, inside, domain, 0.5, 2.0))
    one = [tall[0] if shared else tall[0][0], tall[1][0], tall[2][0]]
    assert region_energy(*one, spacing=spacing).shape == ()


def test_leading_dimensions():
    features, inside, domain = example()
    expected = region_energy(features, inside, domain)
    assert torch.equal(region_energy(features[0], inside[0], domain[0]), expected[0])
    folded = region_energy(features[None], inside[None], domain[None])
    assert torch.equal(folded, expected[None])
    c1, _ = region_means(features[0], inside[0])
    assert c1.shape == (4,)


def test_huge_features_give_no_nan():
    features = torch.full((2, 5, 5), 3e38)
    features[:, :2] *= -1
    inside = torch.rand(1, 5, 5, requires_grad=True)
    energy = region_energy(features, inside)
    energy.sum().backward()
    assert energy.item() == float("inf")
    assert not inside.grad.isnan().any()


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
def test_half_precision_features(dtype):
    features, inside, domain = example(shared=True)
    features, inside, domain = features.to(dtype).requires_grad_(), inside.float(), domain.float()
    inside.requires_grad_()
    energy = region_energy(features, inside, domain)
    expected = in_float64(features.detach(), inside.detach(), domain)
    assert energy.dtype == torch.float32
    torch.testing.assert_close(energy.double(), expected[0], rtol=1e-6, atol=0)
    energy.sum().backward()
    assert features.grad.dtype == dtype and inside.grad.dtype == torch.float32
    assert relative_error(inside.grad, expected[2]) < 1e-6
    assert relative_error(features.grad, expected[1]) < torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_does_not_reach_the_sums(dtype):
    features, inside, _ = example(dtype=torch.float32)
    arguments = features.requires_grad_(), inside.requires_grad_()
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=dtype, enabled=enabled):
            values = region_energy(*arguments), *region_means(*arguments)
            gradients = torch.autograd.grad(sum(v.sum() for v in values), arguments)
        results.append((*values, *gradients))
    for one, other in zip(*results, strict=True):
        assert one.dtype == torch.float32 and torch.equal(one, other)


@pytest.mark.gpu
@pytest.mark.parametrize("shared", [False, True])
def test_gpu_is_the_definition(shared):
    """Odd sizes, several segments and a rest; TensorFloat-32 allowed by the caller."""
    generator = torch.Generator().manual_seed(3)
    features = 30 + torch.randn(*(() if shared else (5,)), 3, 101, 87, generator=generator)
    inside, domain = torch.rand(2, 5, 101, 87, generator=generator)
    expected = in_float64(features, inside, domain)
    arguments = features.cuda().requires_grad_(), inside.cuda().requires_grad_()
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        energy = region_energy(*arguments, domain.cuda())
        again = region_energy(*arguments, domain.cuda())
        gradients = torch.autograd.grad(energy.sum(), arguments)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    assert torch.equal(energy, again)
    for got, want in zip((energy, *gradients), expected, strict=True):
        assert relative_error(got.cpu(), want) < 1e-6


@pytest.mark.parametrize("shape", [(4, 7, 5), (0, 4, 7, 5)])
def test_no_regions(shape):
    features, inside = torch.randn(shape, requires_grad=True), torch.zeros(0, 7, 5)
    energy = region_energy(features, inside.requires_grad_())
    assert energy.shape == (0,)
    energy.sum().backward()
    assert (features.grad == 0).all() and inside.grad.shape == (0, 7, 5)


def test_no_regions_have_no_means():
    c1, c2 = region_means(torch.zeros(0, 4, 7, 5), torch.zeros(0, 7, 5))
    assert c1.shape == c2.shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(features=torch.zeros(3, 4, 7, 6)), ValueError, r"features must have shape \(3, C"),
        (dict(features=torch.zeros(4, 6, 5)), ValueError, r"features must have shape \(C, 7, 5"),
        (dict(inside=torch.zeros(5)), ValueError, r"inside must have shape \(..., H, W\)"),
        (dict(domain=torch.zeros(1, 7, 5)), ValueError, r"domain must have shape \(3, 7, 5\)"),
        (dict(inside=torch.zeros(3, 7, 5).bool()), TypeError, "inside must be floating point"),
        (dict(features=torch.zeros(4, 7, 5).int()), TypeError, "features must be floating point"),
        (dict(domain=torch.zeros(3, 7, 5, device="meta")), ValueError, "on one device"),
        (dict(features=[1.0]), TypeError, "features must be a tensor, but is list"),
        (dict(domain=1.0), TypeError, "domain must be a tensor, but is float"),
    ],
)
def test_bad_input_is_named(change, error, message):
    given = dict(features=torch.zeros(3, 4, 7, 5), inside=torch.zeros(3, 7, 5), domain=None)
    for function in (region_means, region_energy):
        with pytest.raises(error, match=message):
            function(**(given | change))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(lambda1=torch.ones(2)), ValueError, r"lambda1 must have shape \(3\)"),
        (dict(lambda2=torch.ones(3).int()), TypeError, "lambda2 must be floating point"),
        (dict(lambda2=torch.ones(3, device="meta")), ValueError, "lambda2 on meta"),
    ],
)
def test_bad_weights_are_named(change, error, message):
    with pytest.raises(error, match=message):
        region_energy(torch.zeros(4, 7, 5), torch.zeros(3, 7, 5), **change)


@pytest.mark.parametrize("name", ["features", "inside", "domain"])
@pytest.mark.parametrize("function", [region_means, region_energy])
def test_not_finite_input_is_named_where_asked(function, name):
    given = dict(zip(("features", "inside", "domain"), example(shared=True), strict=True))
    function(**given, check_finite=True)
    given[name][1, 2, 3] = float("nan")
    with pytest.raises(ValueError, match=rf"{name} must be finite, but has 1 NaN .*\(1, 2, 3\)"):
        function(**given, check_finite=True)
    function(**given)


def test_not_finite_weights_are_named_where_asked():
    with pytest.raises(ValueError, match=r"lambda2 must be finite, but has 0 NaN and 1 infinite"):
        region_energy(
            torch.zeros(4, 7, 5),
            torch.zeros(1, 7, 5),
            lambda2=torch.tensor([float("inf")]),
            check_finite=True,
        )


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (-1.0, ValueError, "lambda1 must be non-negative and finite, but is -1.0"),
        (float("nan"), ValueError, "lambda1 must be non-negative and finite, but is nan"),
        ("1", TypeError, "lambda1 must be a number or a tensor, but is str"),
    ],
)
def test_bad_numbers_as_weights_are_named(weight, error, message):
    with pytest.raises(error, match=message):
        region_energy(torch.rand(1, 3, 3), torch.rand(1, 3, 3), lambda1=weight)
