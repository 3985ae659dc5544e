"""chan_vese against scikit-image, and against the equations for vector-valued images.

The scheme amplifies rounding errors step by step where the level set is nearly flat (gradients are
only kept from zero by 1e-8). So phi is compared to 1e-10 after five steps and to 1e-6 at the end of
well-conditioned runs. In other runs it may differ as much as scikit-image's own phi does after a
change of the image in the last digit. Masks and numbers of iterations are always identical.
"""

import numpy as np
import pytest
import skimage.data
import torch
from skimage.segmentation import chan_vese as reference

from mmlevelset.ops import chan_vese
from mmlevelset.ops.classic.getreuer_block import Parameters
from mmlevelset.ops.classic.getreuer_solver import solve
from tests.ops import naive

SETTINGS = [
    dict(),
    dict(mu=0.1, lambda1=1, lambda2=2),
    dict(mu=1, dt=5, init_level_set="disk"),
    dict(mu=0.02, init_level_set="small disk", tol=1e-4),
    dict(mu=0, lambda1=0.5, dt=2),
]


def sample(name, step=6):
    """One of the images that come with scikit-image, grey and smaller."""
    seed = dict(rng=0) if name == "binary_blobs" else {}  # else another image in each call
    image = getattr(skimage.data, name)(**seed)[::step, ::step]
    return image.mean(-1) if image.ndim == 3 else image


def noisy_disc(seed=0, shape=(40, 47), dtype=np.float64):
    y, x = np.mgrid[: shape[0], : shape[1]]
    disc = (y - 18) ** 2 + (x - 25) ** 2 < 12**2
    image = disc + 0.3 * np.random.default_rng(seed).standard_normal(shape)
    return image.astype(dtype)


def assert_same(ours, theirs, phi=1e-6, energy=1e-9):
    mask, level_set, energies = ours
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, theirs[0])
    assert len(energies) == len(theirs[2])
    assert level_set.dtype == theirs[1].dtype
    np.testing.assert_allclose(level_set, theirs[1], rtol=0, atol=phi)
    np.testing.assert_allclose(energies, theirs[2], rtol=energy, atol=1e-12)


# against scikit-image


@pytest.mark.parametrize(
    "name", "coins moon page text brick grass gravel cell chelsea rocket hubble_deep_field".split()
)
def test_the_sample_images_until_they_stop(name):
    image = sample(name)
    theirs = reference(image, extended_output=True)
    assert len(theirs[2]) < 500  # Stopped by tol.
    assert_same(chan_vese(image, extended_output=True), theirs)
    np.testing.assert_array_equal(chan_vese(image), theirs[0])


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", ["camera", "coins", "horse", "astronaut", "shepp_logan_phantom"])
def test_five_iterations_to_ten_digits(name, setting):
    image, options = sample(name, 4), dict(setting, max_num_iter=5, extended_output=True)
    assert_same(chan_vese(image, **options), reference(image, **options), 1e-10, 1e-11)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", ["camera", "horse", "binary_blobs"])
def test_long_runs_differ_no_more_than_by_one_unit_in_the_last_place(name, setting):
    image = sample(name).astype(float)
    options = dict(setting, max_num_iter=120, extended_output=True)
    random = np.random.default_rng(0)
    changed = image * (1 + random.choice([-1, 1], image.shape) * np.finfo(float).eps)
    theirs, shaken = reference(image, **options), reference(changed, **options)
    own = np.abs(theirs[1] - shaken[1]).max()
    energy = 1e-9 + 100 * max(np.abs(np.divide(shaken[2], theirs[2]) - 1))
    assert_same(chan_vese(image, **options), theirs, 1e-10 + 100 * own, energy)


@pytest.mark.parametrize(
    "dtype",
    ["bool", "uint8", "int16", "uint16", "uint64", "int64", "float16", "float32", "float64", ">f8"],
)
def test_types(dtype):
    image = noisy_disc()
    if np.dtype(dtype).kind in "iu":
        image = 100 * (image - image.min())
    image = (image > 0.5) if dtype == "bool" else image.astype(dtype)
    theirs = reference(image, extended_output=True, max_num_iter=20)
    ours = chan_vese(image, extended_output=True, max_num_iter=20)
    narrow = dtype in ("float16", "float32")
    assert_same(ours, theirs, *((1e-4, 1e-5) if narrow else (1e-10, 1e-12)))
    assert all(energy.dtype == ours[1].dtype for energy in ours[2])


def test_float32_until_it_stops():
    image = sample("coins").astype(np.float32)
    assert_same(
        chan_vese(image, extended_output=True), reference(image, extended_output=True), 1e-4, 1e-5
    )


@pytest.mark.parametrize("name", ["checkerboard", "disk", "small disk"])
@pytest.mark.parametrize("shape", [(3, 4), (31, 18), (1, 200), (200, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_level_sets(name, shape, dtype):
    image = np.random.default_rng(0).random(shape).astype(dtype)
    options = dict(init_level_set=name, max_num_iter=0, extended_output=True)
    if name != "checkerboard" and 1 in shape:
        with pytest.raises(ValueError, match="at least 3 x 3"):
            chan_vese(image, **options)
        return
    mask, phi, energies = chan_vese(image, **options)
    expected = reference(image, **options)[1]
    np.testing.assert_allclose(phi, expected, rtol=4 * np.finfo(dtype).eps, atol=0)
    np.testing.assert_array_equal(mask, expected > 0)
    assert energies == []


def test_own_level_set():
    image = noisy_disc()
    start = np.random.default_rng(1).standard_normal(image.shape)
    for given in (start, start.astype(np.float32), start > 0):
        options = dict(init_level_set=given, max_num_iter=15, extended_output=True)
        assert_same(chan_vese(image, **options), reference(image, **options), 1e-10)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (2, 50)])
def test_thin_images(shape):
    image = np.random.default_rng(2).random(shape)
    options = dict(max_num_iter=8, extended_output=True)
    assert_same(chan_vese(image, **options), reference(image, **options), 1e-10)


# segmentation


def square():
    image = np.zeros((12, 13))
    image[4:8, 3:9] = 1
    return image


def test_a_level_set_without_a_zero_level_takes_over_everything():
    image = square()
    flat = np.full(image.shape, 1000.0)
    assert chan_vese(image, mu=0.0, init_level_set=flat).all()
    assert not chan_vese(image, mu=0.0, init_level_set=-flat).any()


@pytest.mark.parametrize("options", [dict(init_level_set="small disk"), dict(tol=1e-8)])
def test_a_simple_shape_is_found(options):
    image = square()
    mask = chan_vese(image, mu=0.0, **options)
    np.testing.assert_array_equal(mask, reference(image, mu=0.0, **options))
    np.testing.assert_array_equal(mask, image == (1 if mask[5, 5] else 0))


def test_noise_is_removed():
    y, x = np.mgrid[:14, :14]
    shape = (y - 5) ** 2 + (x - 5) ** 2 < 13
    image = shape.astype(float)
    image[12, 4] = 1
    options = dict(mu=0.3, max_num_iter=100, dt=10, init_level_set="disk")
    np.testing.assert_array_equal(chan_vese(image, **options), shape)
    options["mu"] = 0.0
    np.testing.assert_array_equal(chan_vese(image, **options), image > 0)


def test_gaps_are_closed():
    shape = np.zeros((24, 24), bool)
    shape[9:16] = True
    image = shape.astype(float)
    image[:, 8] = 0
    options = dict(mu=0.7, max_num_iter=1000, dt=1000, init_level_set="disk")
    np.testing.assert_array_equal(chan_vese(image, **options), shape)


def test_a_blank_image_leaves_the_level_set_alone():
    start = np.random.default_rng(0).standard_normal((11, 10))
    options = dict(mu=0.0, tol=0.0, init_level_set=start, extended_output=True)
    mask, phi, energies = chan_vese(np.full((11, 10), 7), **options)
    np.testing.assert_array_equal(phi, start)
    np.testing.assert_array_equal(mask, start > 0)
    assert energies == [0.0]


def test_inside_and_outside_are_exchangeable():
    image = noisy_disc()
    start = np.random.default_rng(3).standard_normal(image.shape)
    options = dict(max_num_iter=12, extended_output=True)
    one = chan_vese(image, lambda1=1.5, lambda2=0.5, init_level_set=start, **options)
    other = chan_vese(image, lambda1=0.5, lambda2=1.5, init_level_set=-start, **options)
    np.testing.assert_allclose(one[1], -other[1], atol=1e-10)
    np.testing.assert_allclose(one[2], other[2], rtol=1e-12)


# more than one channel


def colours(seed=0, shape=(3, 21, 26)):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("lambda2", [1.0, 2.5])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_vector_valued_images_follow_the_equations(channels, lambda2):
    image = colours(shape=(channels, 19, 24)) * 3 - 1
    start = torch.randn(19, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mask, phi, energies = chan_vese(
        image, 0.3, 1.0, lambda2, 0.0, 9, 0.7, init_level_set=start, extended_output=True
    )
    scaled = (image - image.min()) / (image.max() - image.min())
    want, history = naive.chan_vese(start, scaled, 0.3, 1.0, lambda2, 0.7, 9)
    torch.testing.assert_close(phi, want, rtol=0, atol=1e-11)
    torch.testing.assert_close(mask, want > 0)
    assert energies == pytest.approx(history, rel=1e-11)


# batches


def batch():
    """Six images that stop after different numbers of iterations."""
    images = [noisy_disc(seed, (40, 50)) for seed in range(4)]
    images += [np.zeros((40, 50)), (noisy_disc(9, (40, 50)) > 0.5).astype(float)]
    return torch.from_numpy(np.stack(images))[:, None]


@pytest.mark.parametrize("extended", [False, True])
def test_a_batch_gives_what_single_images_give(extended):
    images = batch()
    together = chan_vese(images, tol=2e-3, extended_output=extended)
    alone = [chan_vese(image[0], tol=2e-3, extended_output=extended) for image in images]
    if not extended:
        torch.testing.assert_close(together, torch.stack(alone))
        return
    torch.testing.assert_close(together[0], torch.stack([one[0] for one in alone]))
    torch.testing.assert_close(
        together[1], torch.stack([one[1] for one in alone]), atol=1e-9, rtol=0
    )
    lengths = [len(energies) for energies in together[2]]
    assert lengths == [len(one[2]) for one in alone]
    assert len(set(lengths)) >= 4
    for energies, one in zip(together[2], alone, strict=True):
        assert energies == pytest.approx(one[2], rel=1e-10)


def test_batches_of_arrays_and_of_level_sets():
    images = batch().numpy()
    starts = np.random.default_rng(5).standard_normal((6, 40, 50))
    options = dict(max_num_iter=10, extended_output=True)
    mask, phi, energies = chan_vese(images, init_level_set=starts, **options)
    assert mask.shape == phi.shape == (6, 40, 50)
    for index in range(6):
        single = chan_vese(images[index, 0], init_level_set=starts[index], **options)
        assert_same((mask[index], phi[index], energies[index]), single, 1e-12, 1e-12)
    shared = chan_vese(images, init_level_set=starts[0], **options)[1]
    np.testing.assert_allclose(shared[0], phi[0], atol=1e-12)
    assert np.abs(shared[1] - phi[1]).max() > 1e-2


@pytest.mark.parametrize("check_every", [1, 7, 1000])
@pytest.mark.parametrize("block_pixels", [1, 700, 4500, 10**9])
def test_blocks_and_the_hosts_looks_change_nothing(block_pixels, check_every):
    """A CUDA device's way is among these: one block of all images, held after they have stopped."""
    images = batch()
    images = torch.cat([images, images.flip(2)], 1)
    start = torch.randn(6, 40, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parameters = Parameters(0.2, 1.0, 1.3, 0.5, 0.08, 60)
    with torch.no_grad():
        want = [
            solve(image[None], phi[None], parameters, with_energies=True)
            for image, phi in zip(images, start, strict=True)
        ]
        got = solve(
            images,
            start,
            parameters,
            with_energies=True,
            check_every=check_every,
            block_pixels=block_pixels,
        )
    torch.testing.assert_close(got.phi, torch.cat([one.phi for one in want]), atol=1e-9, rtol=0)
    assert got.iterations == [one.iterations[0] for one in want]
    assert len(set(got.iterations)) >= 4
    assert max(got.iterations) < 60
    for energies, one in zip(got.energies, want, strict=True):
        assert energies == pytest.approx(one.energies[0], rel=1e-10)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_gives_what_the_cpu_gives(dtype):
    images = torch.cat([batch(), batch().flip(3)], 1).to(dtype)
    want = chan_vese(images, tol=2e-3, extended_output=True)
    got = chan_vese(images.cuda(), tol=2e-3, extended_output=True)
    assert got[0].device.type == got[1].device.type == "cuda"
    if dtype == torch.float32:
        assert (got[0].cpu() != want[0]).float().mean() < 1e-3
        return
    torch.testing.assert_close(got[0].cpu(), want[0])
    torch.testing.assert_close(got[1].cpu(), want[1], atol=1e-6, rtol=0)
    assert [len(one) for one in got[2]] == [len(one) for one in want[2]]


# bad input

GOOD = np.random.default_rng(0).random((8, 9))


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.array([[-1e308, 1.7e308]] * 3), {}, "image must have a range"),
        (GOOD, dict(lambda1=float("nan")), "lambda1 must be"),
        (GOOD, dict(lambda2=float("inf")), "lambda2 must be"),
        (GOOD, dict(init_level_set="a"), "init_level_set must be one of 'check"),
        (GOOD[:2], dict(init_level_set="disk"), "init_level_set='disk' needs .* at least 3 x 3"),
    ],
)
def test_bad_input_is_named(image, options, message):
    with pytest.raises(ValueError, match=message):
        chan_vese(image, **options)
