"""What DRLSE, region-scalable fitting and L2S have in common: input, output, options."""

import doctest
import sys
import warnings

import numpy as np
import pytest
import torch

from mmlevelset.ops import drlse, legendre_level_set, region_scalable_fitting

SOLVERS = [drlse, region_scalable_fitting, legendre_level_set]

pytestmark = pytest.mark.parametrize("solve", SOLVERS, ids=lambda f: f.__name__)


def picture(height=36, width=40, radius=11, middle=(17, 20)):
    y, x = np.mgrid[:height, :width]
    disc = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 < radius**2
    return disc, 0.2 + 0.6 * disc + 0.005 * x


def batch():
    """Images that take different numbers of iterations; the last is blank."""
    images = [picture(radius=r, middle=m)[1] for r, m in ((11, (17, 20)), (8, (14, 26)))]
    return np.stack([*images, np.full_like(images[0], 0.3)])[:, None]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "uint8", "int16", "uint16"])
def test_arrays(solve, dtype):
    disc, image = picture()
    image = image.astype(dtype) if dtype[0] == "f" else (200 * image).astype(dtype)
    mask, phi, energies = solve(image, extended_output=True)
    assert isinstance(mask, np.ndarray) and mask.dtype == bool and mask.shape == disc.shape
    assert phi.dtype == ("float32" if dtype in ("float32", "float16") else "float64")
    np.testing.assert_array_equal(mask, phi > 0)
    assert len(energies) > 0 and all(isinstance(e, float) for e in energies)
    assert energies[-1] < energies[0]
    assert (mask & disc).sum() > 0.85 * (mask | disc).sum()


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8]
)
def test_tensors(solve, dtype):
    disc, image = picture()
    image = torch.tensor(200 * image).to(dtype)
    mask, phi, _ = solve(image, extended_output=True)
    assert isinstance(mask, torch.Tensor) and mask.dtype == torch.bool
    wide = dtype in (torch.float64, torch.uint8)
    assert phi.dtype == (torch.float64 if wide else torch.float32)
    assert (mask.numpy() & disc).sum() > 0.85 * (mask.numpy() | disc).sum()
    plain = solve(image)
    assert torch.equal(plain, mask)


def test_a_mask_is_an_image(solve):
    disc, _ = picture()
    np.testing.assert_array_equal(solve(disc), solve(disc.astype(float)))


def test_a_requires_grad_tensor_gives_constants(solve):
    image = torch.tensor(picture()[1], requires_grad=True)
    _, phi, _ = solve(image, extended_output=True, max_num_iter=3)
    assert not phi.requires_grad


def test_array_layout_does_not_matter(solve):
    _, image = picture()
    want = solve(image)
    np.testing.assert_array_equal(solve(np.asfortranarray(image)), want)
    np.testing.assert_array_equal(solve(image[::-1].copy()[::-1]), want)
    np.testing.assert_array_equal(solve(image.astype(">f8")), want)
    read_only = image.copy()
    read_only.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(solve(read_only), want)


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


def test_an_empty_batch(solve):
    mask, phi, energies = solve(np.zeros((0, 2, 5, 6)), extended_output=True)
    assert mask.shape == phi.shape == (0, 5, 6)
    assert energies == []


def test_grey_as_colours(solve):
    _, image = picture()
    mask, phi, energies = solve(image, extended_output=True, max_num_iter=20)
    for shape in ((1, 36, 40), (3, 36, 40)):
        found = solve(np.broadcast_to(image, shape), extended_output=True, max_num_iter=20)
        np.testing.assert_array_equal(found[0], mask)
        np.testing.assert_allclose(found[1], phi, atol=1e-9)
        np.testing.assert_allclose(found[2], energies, rtol=1e-9)


def test_an_object_in_one_channel_alone_is_found(solve):
    disc, image = picture()
    colours = np.stack([np.full_like(image, 0.5), image])
    mask = solve(colours)
    assert (mask & disc).sum() > 0.85 * (mask | disc).sum()


def test_brightness_and_contrast_do_not_matter(solve):
    _, image = picture()
    want = solve(image, extended_output=True, max_num_iter=20)
    for other in (1000 * image - 3, 1e-6 * image + 1e-3, 1e300 * image):
        got = solve(other, extended_output=True, max_num_iter=20)
        np.testing.assert_allclose(got[1], want[1], atol=1e-5)


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


@pytest.mark.parametrize("value", [0.0, 7.0, -1e308])
@pytest.mark.parametrize("init", ["box", "disk", "small disk", "checkerboard"])
def test_a_blank_image_stays_finite(solve, value, init):
    mask, phi, energies = solve(
        np.full((12, 15), value), init_level_set=init, extended_output=True, max_num_iter=30
    )
    assert np.isfinite(phi).all() and np.isfinite(energies).all()
    assert mask.shape == (12, 15)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 1), (3, 3)])
def test_the_smallest_images_stay_finite(solve, shape):
    image = np.arange(np.prod(shape), dtype=float).reshape(shape)
    _, phi, _ = solve(image, extended_output=True, max_num_iter=30)
    assert np.isfinite(phi).all() and phi.shape == shape


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


def test_starts_of_a_batch(solve):
    images = batch()
    one = np.random.default_rng(0).standard_normal((36, 40))
    many = np.stack([one, -one, 2 * one])
    options = dict(max_num_iter=0, extended_output=True)
    np.testing.assert_array_equal(solve(images, init_level_set=one, **options)[1], [one] * 3)
    np.testing.assert_array_equal(solve(images, init_level_set=many, **options)[1], many)


def test_going_on_from_phi(solve):
    _, image = picture()
    options = dict(tol=0, extended_output=True)
    _, half, first = solve(image, max_num_iter=10, **options)
    _, phi, second = solve(image, max_num_iter=7, init_level_set=half, **options)
    _, whole, energies = solve(image, max_num_iter=17, **options)
    np.testing.assert_allclose(phi, whole, atol=1e-12)
    np.testing.assert_allclose(first + second, energies)


def test_numbers_of_numpy_are_numbers(solve):
    _, image = picture()
    options = dict(dt=np.float32(0.1), tol=np.float64(0), max_num_iter=np.int64(2))
    want = solve(image, dt=float(np.float32(0.1)), tol=0, max_num_iter=2)
    np.testing.assert_array_equal(solve(image, **options), want)


def test_autocast_does_not_reach_it(solve):
    image = torch.tensor(picture()[1], dtype=torch.float32)
    want = solve(image, extended_output=True, max_num_iter=5)[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = solve(image, extended_output=True, max_num_iter=5)[1]
    assert torch.equal(got, want)


@pytest.mark.gpu
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


def test_the_example_in_the_docstring(solve):
    module = sys.modules[solve.__module__]
    (example,) = doctest.DocTestFinder().find(solve, "solve", module, vars(module).copy())
    assert len(example.examples) > 3
    assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(image=[[1.0]]), TypeError, "image must be a NumPy array or a tensor, but is list"),
        (dict(image=np.zeros(5)), ValueError, r"image must have shape \(H, W\).* has \(5,\)"),
        (dict(image=np.zeros((1, 1, 1, 4, 4))), ValueError, "image must have shape"),
        (dict(image=np.zeros((0, 4))), ValueError, "image must have shape.* W positive"),
        (dict(image=torch.zeros(2, 0, 4, 4)), ValueError, "image must have shape"),
        (dict(image=np.zeros((4, 4), complex)), TypeError, "image must hold real numbers"),
        (dict(image=np.array([["a"]])), TypeError, "image must hold real numbers"),
        (dict(image=torch.zeros(4, 4, dtype=torch.cfloat)), TypeError, "image must be real"),
        (dict(image=np.full((4, 4), np.nan)), ValueError, "image must be finite"),
        (dict(image=torch.full((4, 4), torch.inf)), ValueError, "image must be finite"),
        (dict(init_level_set="circle"), ValueError, "init_level_set must be one of.*'circle'"),
        (dict(init_level_set=3), TypeError, "init_level_set must be a NumPy array or a tensor"),
        (dict(init_level_set=np.zeros((8, 9))), ValueError, r"init_level_set must.*\(9, 8\), but"),
        (dict(init_level_set=np.zeros((2, 9, 8))), ValueError, r"init_level_set must have shape"),
        (
            dict(init_level_set=np.zeros((9, 8), complex)),
            TypeError,
            "init_level_set must hold real",
        ),
        (dict(init_level_set=torch.zeros(9, 8).int()), TypeError, "init_level_set must be bool"),
        (dict(init_level_set=np.full((9, 8), np.inf)), ValueError, "init_level_set must be finite"),
        (dict(init_level_set=torch.zeros(9, 8, device="meta")), ValueError, "on one device"),
        (dict(mu=-0.1), ValueError, "mu must be non-negative and finite, but is -0.1"),
        (dict(mu="1"), TypeError, "mu must be a number, but is str"),
        (dict(dt=0), ValueError, "dt must be positive and finite, but is 0"),
        (dict(mu=0.1, dt=2.5), ValueError, r"dt must be less than 1 / \(4 mu\) = 2.5, but is 2.5"),
        (dict(epsilon=0.0), ValueError, "epsilon must be positive"),
        (dict(epsilon=float("nan")), ValueError, "epsilon must be positive and finite, but is nan"),
        (dict(tol=-1e-3), ValueError, "tol must be non-negative"),
        (dict(tol=None), TypeError, "tol must be a number"),
        (dict(mu=True), TypeError, "mu must be a number, but is bool"),
        (dict(max_num_iter=-1), ValueError, "max_num_iter must be non-negative, but is -1"),
        (dict(max_num_iter=2.0), TypeError, "max_num_iter must be an integer, but is float"),
        (dict(max_num_iter=True), TypeError, "max_num_iter must be an integer, but is bool"),
    ],
)
def test_bad_input_is_named(solve, change, error, message):
    with pytest.raises(error, match=message):
        solve(**(dict(image=np.zeros((9, 8))) | change))
