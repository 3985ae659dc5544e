"""The contract of the solvers: image types and shapes, batches, starts, options, errors."""

import warnings

import numpy as np
import pytest
import torch

from mmlevelset.ops import chan_vese, drlse, legendre_level_set, region_scalable_fitting
from tests.ops.classic.pictures import overlap

DESCENTS = [drlse, region_scalable_fitting, legendre_level_set]


def solvers(functions):
    return pytest.mark.parametrize("solve", functions, ids=lambda f: f.__name__)


every_solver = solvers([chan_vese, *DESCENTS])
each_descent = solvers(DESCENTS)


def picture(height=36, width=40, radius=11, middle=(17, 20)):
    y, x = np.mgrid[:height, :width]
    disc = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 < radius**2
    return disc, 0.2 + 0.6 * disc + 0.005 * x


def batch():
    """Images that take different numbers of iterations; the last is blank."""
    images = [picture(radius=r, middle=m)[1] for r, m in ((11, (17, 20)), (8, (14, 26)))]
    return np.stack([*images, np.full_like(images[0], 0.3)])[:, None]


@each_descent
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_disc_is_found(solve, dtype):
    disc, image = picture()
    mask, _, energies = solve(image.astype(dtype), extended_output=True)
    assert energies[-1] < energies[0]
    assert overlap(mask, disc) > 0.85


@every_solver
@pytest.mark.parametrize(
    "dtype",
    ["bool", "uint8", "int16", "uint16", "uint64", "float16", "float32", "float64", ">f8"],
)
def test_arrays(solve, dtype):
    disc, image = picture()
    image = (200 * image if np.dtype(dtype).kind in "iu" else image).astype(dtype)
    if dtype == "bool":
        image = disc
    options = dict(extended_output=True, max_num_iter=10)
    mask, phi, energies = solve(image, **options)
    assert isinstance(mask, np.ndarray) and mask.dtype == bool and mask.shape == disc.shape
    assert phi.dtype == ("float32" if dtype in ("float32", "float16") else "float64")
    np.testing.assert_array_equal(mask, phi > 0)
    np.testing.assert_array_equal(mask, solve(image, max_num_iter=10))
    kind = phi.dtype.type if solve is chan_vese else float  # scikit-image's are of phi's type
    assert len(energies) == 10 and all(isinstance(energy, kind) for energy in energies)
    np.testing.assert_array_equal(phi, solve(image.astype(phi.dtype), **options)[1])


@every_solver
@pytest.mark.parametrize(
    ("dtype", "computed"),
    [
        (torch.bool, torch.float64),
        (torch.uint8, torch.float64),
        (torch.int32, torch.float64),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_tensors(solve, dtype, computed):
    image = torch.tensor(200 * picture()[1])
    image = (image > 100 if dtype == torch.bool else image).to(dtype)
    before = image.clone()
    options = dict(extended_output=True, max_num_iter=10)
    mask, phi, energies = solve(image, **options)
    assert torch.equal(image, before)
    assert isinstance(mask, torch.Tensor) and mask.dtype == torch.bool
    assert phi.dtype == computed
    assert all(type(energy) is float for energy in energies)
    assert torch.equal(solve(image, max_num_iter=10), mask)
    want = solve(image.to(computed).numpy(), **options)
    np.testing.assert_array_equal(mask.numpy(), want[0])
    np.testing.assert_array_equal(phi.numpy(), want[1])


@every_solver
def test_no_gradient_flows(solve):
    image = torch.tensor(picture()[1], requires_grad=True)
    _, phi, _ = solve(image, extended_output=True, max_num_iter=3)
    assert not phi.requires_grad


@every_solver
def test_the_layout_of_memory_does_not_matter(solve):
    _, image = picture()

    def level_set(image):
        return solve(image, max_num_iter=10, extended_output=True)[1]

    want = level_set(image)
    wide = np.zeros((72, 80))
    wide[::2, ::2] = image
    read_only = image.copy()
    read_only.flags.writeable = False
    flipped = image[::-1, ::-1].copy()[::-1, ::-1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for same in (np.asfortranarray(image), wide[::2, ::2], flipped, read_only):
            np.testing.assert_array_equal(level_set(same), want)
    transposed = torch.from_numpy(np.ascontiguousarray(image.T)).T
    rounding = 0 if solve is chan_vese else 1e-11  # a product sums strided rows in another order
    np.testing.assert_allclose(level_set(transposed).numpy(), want, rtol=0, atol=rounding)


@each_descent
def test_a_batch_is_its_images(solve):
    images = batch()
    masks, phis, energies = solve(images, extended_output=True, max_num_iter=300)
    assert masks.shape == phis.shape == (3, 36, 40)
    for index, image in enumerate(images):
        mask, phi, energy = solve(image, extended_output=True, max_num_iter=300)
        np.testing.assert_array_equal(masks[index], mask)
        np.testing.assert_allclose(phis[index], phi, atol=1e-6)
        np.testing.assert_allclose(energies[index], energy, rtol=1e-9)
    assert len({len(energy) for energy in energies}) > 1


@every_solver
@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
def test_an_empty_batch(solve, make):
    mask, phi, energies = solve(make((0, 2, 5, 6)), extended_output=True)
    assert mask.shape == phi.shape == (0, 5, 6)
    assert energies == []


@every_solver
def test_grey_as_colours(solve):
    _, image = picture()
    mask, phi, energies = solve(image, extended_output=True, max_num_iter=20)
    for shape in ((1, 36, 40), (3, 36, 40)):
        found = solve(np.broadcast_to(image, shape), extended_output=True, max_num_iter=20)
        np.testing.assert_array_equal(found[0], mask)
        np.testing.assert_allclose(found[1], phi, atol=1e-9)
        np.testing.assert_allclose(found[2], energies, rtol=1e-9)


@every_solver
def test_an_object_in_one_channel_alone_is_found(solve):
    disc, image = picture()
    colours = np.stack([np.full_like(image, 0.5), image])
    mask = solve(colours)
    inside = ~mask if solve is chan_vese and not mask[17, 20] else mask
    assert overlap(inside, disc) > 0.85


@every_solver
def test_brightness_and_contrast_do_not_matter(solve):
    _, image = picture()
    want = solve(image, extended_output=True, max_num_iter=20)
    for other in (7 * image - 300, 1000 * image - 3, 1e-6 * image + 1e-3, 1e300 * image):
        got = solve(other, extended_output=True, max_num_iter=20)
        # The third image has few digits of contrast.
        rounding = 1e-5 if other.max() < 1 else 1e-9
        np.testing.assert_allclose(got[1], want[1], rtol=0, atol=rounding)


@every_solver
def test_flipping_and_turning_the_image_flips_and_turns_the_result(solve):
    _, image = picture()
    start = np.zeros_like(image, dtype=bool)
    start[4:26, 6:30] = True
    _, phi, _ = solve(image, init_level_set=start, extended_output=True, max_num_iter=20)
    for change in (np.flipud, np.fliplr, np.transpose):
        turned = solve(
            change(image), init_level_set=change(start), extended_output=True, max_num_iter=20
        )
        np.testing.assert_allclose(turned[1], change(phi), atol=1e-8)


@every_solver
@pytest.mark.parametrize("value", [0.0, 7.0, -1e308])
def test_a_blank_image_stays_finite(solve, value):
    image = np.full((12, 15), value)
    starts = ["disk", "small disk", "checkerboard"] + ["box"] * (solve is not chan_vese)
    for start in starts:
        mask, phi, energies = solve(
            image, init_level_set=start, extended_output=True, max_num_iter=30
        )
        assert np.isfinite(phi).all() and np.isfinite(energies).all(), start
        assert mask.shape == (12, 15)


@every_solver
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 1), (3, 3)])
def test_the_smallest_images_stay_finite(solve, shape):
    image = np.arange(np.prod(shape), dtype=float).reshape(shape)
    _, phi, _ = solve(image, extended_output=True, max_num_iter=30)
    assert np.isfinite(phi).all() and phi.shape == shape


@every_solver
@pytest.mark.parametrize("value", [2.0, -2.0, 1e4])
def test_a_start_without_contour_stays_finite(solve, value):
    _, image = picture()
    _, phi, _ = solve(
        image.astype(np.float32),
        init_level_set=np.full(image.shape, value),
        extended_output=True,
        max_num_iter=50,
    )
    assert np.isfinite(phi).all()


@each_descent
def test_starts(solve):
    _, image = picture()

    def start(init, **options):
        return solve(image, init_level_set=init, max_num_iter=0, extended_output=True, **options)

    mask, phi, energies = start("box")
    assert energies == []
    assert set(np.unique(phi)) == {-2.0, 2.0}
    assert mask[3:-3, 4:-4].all() and mask.sum() == 30 * 32
    given = np.random.default_rng(0).standard_normal(image.shape)
    np.testing.assert_array_equal(start(given)[1], given)
    np.testing.assert_array_equal(start(given > 0)[1], np.where(given > 0, 2.0, -2.0))
    np.testing.assert_array_equal(start(torch.tensor(given))[1], given)
    disc, small = start("disk")[0], start("small disk")[0]
    assert disc.sum() == pytest.approx(np.pi * 18**2, rel=0.05)
    assert small.sum() == pytest.approx(np.pi * 9**2, rel=0.05)
    assert 0.3 < start("checkerboard")[0].mean() < 0.6


@every_solver
def test_starts_of_a_batch(solve):
    images = batch()
    one = np.random.default_rng(0).standard_normal((36, 40))
    many = np.stack([one, -one, 2 * one])
    options = dict(max_num_iter=0, extended_output=True)
    np.testing.assert_array_equal(solve(images, init_level_set=one, **options)[1], [one] * 3)
    np.testing.assert_array_equal(solve(images, init_level_set=many, **options)[1], many)


@every_solver
def test_going_on_from_phi(solve):
    _, image = picture()
    options = dict(tol=0, extended_output=True)
    _, half, first = solve(image, max_num_iter=10, **options)
    _, phi, second = solve(image, max_num_iter=7, init_level_set=half, **options)
    _, whole, energies = solve(image, max_num_iter=17, **options)
    np.testing.assert_allclose(phi, whole, atol=1e-12)
    np.testing.assert_allclose(first + second, energies)


@every_solver
def test_numbers_of_numpy_are_numbers(solve):
    _, image = picture()
    options = dict(dt=np.float32(0.1), tol=np.float64(0), max_num_iter=np.int64(2))
    want = solve(image, dt=float(np.float32(0.1)), tol=0, max_num_iter=2)
    np.testing.assert_array_equal(solve(image, **options), want)


@every_solver
def test_autocast_does_not_reach_it(solve):
    image = torch.tensor(picture()[1], dtype=torch.float32)
    want = solve(image, extended_output=True, max_num_iter=5)[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = solve(image, extended_output=True, max_num_iter=5)[1]
    assert torch.equal(got, want)


@pytest.mark.gpu
@each_descent
def test_on_a_gpu(solve):
    images = torch.tensor(batch())
    options = dict(extended_output=True, max_num_iter=100)
    mask, phi, energies = solve(images.cuda(), **options)
    assert mask.is_cuda and phi.is_cuda
    want = solve(images, **options)
    assert torch.equal(mask.cpu(), want[0])
    torch.testing.assert_close(phi.cpu(), want[1], rtol=0, atol=1e-6)
    for got, expected in zip(energies, want[2], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9)


@pytest.mark.gpu
@each_descent
def test_a_gpu_is_not_waited_for_in_each_iteration(solve):
    image = torch.tensor(picture()[1]).cuda()
    solve(image, max_num_iter=2)
    waits = []
    for iterations in (2, 9):
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            solve(image, max_num_iter=iterations)
        torch.cuda.set_sync_debug_mode("default")
        waits.append(len(caught))
    assert waits[0] == waits[1]


@every_solver
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(image=[[1.0]]), TypeError, "image must be a NumPy array or a tensor, but is list"),
        (dict(image=np.zeros(5)), ValueError, r"image must have shape \(H, W\).* has \(5,\)"),
        (dict(image=np.zeros((1, 1, 1, 4, 4))), ValueError, r"image must have .*\(1, 1, 1, 4, 4\)"),
        (dict(image=np.zeros((0, 4))), ValueError, r"image must have .* W positive, .*\(0, 4\)"),
        (dict(image=torch.zeros(2, 0, 4, 4)), ValueError, r"image must have .*\(2, 0, 4, 4\)"),
        (dict(image=np.zeros((4, 4), complex)), TypeError, "image must hold .* but is complex128"),
        (dict(image=np.array([["a"]])), TypeError, "image must hold real numbers"),
        (dict(image=torch.zeros(4, 4, dtype=torch.cfloat)), TypeError, "image must be real"),
        (dict(image=np.full((4, 2), np.nan)), ValueError, "image must be finite, but has 8 NaN"),
        (dict(image=torch.full((4, 4), torch.inf)), ValueError, "image must be finite"),
        (dict(init_level_set="circle"), ValueError, "init_level_set must be one of.*'circle'"),
        (dict(init_level_set=3), TypeError, "init_level_set must be a NumPy array or a tensor"),
        (dict(init_level_set=None), TypeError, "init_level_set must be a NumPy array or a tensor"),
        (
            dict(init_level_set=np.zeros((8, 9))),
            ValueError,
            r"init_level_set must have shape \(9, 8\), but has \(8, 9\)",
        ),
        (dict(init_level_set=np.zeros((2, 9, 8))), ValueError, r"init_level_set must have shape"),
        (
            dict(image=np.zeros((2, 1, 9, 8)), init_level_set=np.ones((3, 9, 8))),
            ValueError,
            r"init_level_set must have shape \(9, 8\) or \(2, 9, 8\), but has \(3, 9, 8\)",
        ),
        (
            dict(init_level_set=np.zeros((9, 8), complex)),
            TypeError,
            "init_level_set must hold real",
        ),
        (dict(init_level_set=np.full((9, 8), np.inf)), ValueError, "init_level_set must be finite"),
        (
            dict(image=torch.zeros(9, 8), init_level_set=torch.zeros(9, 8, device="meta")),
            ValueError,
            "on one device",
        ),
        (dict(mu=-0.1), ValueError, "mu must be non-negative and finite, but is -0.1"),
        (dict(mu="1"), TypeError, "mu must be a number, but is str"),
        (dict(mu=True), TypeError, "mu must be a number, but is bool"),
        (dict(dt=0), ValueError, "dt must be positive and finite, but is 0"),
        (dict(dt="1"), TypeError, "dt must be a number, but is str"),
        (dict(tol=-1e-3), ValueError, "tol must be non-negative"),
        (dict(tol=None), TypeError, "tol must be a number"),
        (dict(max_num_iter=-1), ValueError, "max_num_iter must be non-negative, but is -1"),
        (dict(max_num_iter=2.0), TypeError, "max_num_iter must be an integer, but is float"),
        (dict(max_num_iter=True), TypeError, "max_num_iter must be an integer, but is bool"),
    ],
)
def test_bad_input_is_named(solve, change, error, message):
    with pytest.raises(error, match=message):
        solve(**(dict(image=np.zeros((9, 8))) | change))


@each_descent
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(init_level_set=torch.zeros(9, 8).int()), TypeError, "init_level_set must be bool"),
        (dict(init_level_set=np.zeros((9, 8), np.uint8)), TypeError, "init_level_set .* is uint8"),
        (dict(mu=0.1, dt=2.5), ValueError, r"dt must be less than 1 / \(4 mu\) = 2.5, but is 2.5"),
        (dict(epsilon=0.0), ValueError, "epsilon must be positive"),
        (dict(epsilon=float("nan")), ValueError, "epsilon must be positive and finite, but is nan"),
    ],
)
def test_bad_input_of_a_descent_is_named(solve, change, error, message):
    with pytest.raises(error, match=message):
        solve(**(dict(image=np.zeros((9, 8))) | change))
