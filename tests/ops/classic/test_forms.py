"""Photos, volumes and masked arrays: what the solvers take as an image, and what they refuse."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from mmlevelset.ops import chan_vese, drlse, legendre_level_set, region_scalable_fitting

SOLVERS = [chan_vese, drlse, legendre_level_set, region_scalable_fitting]
generator = np.random.default_rng(0)
PHOTO = generator.random((14, 12, 3))


@pytest.mark.parametrize("solve", SOLVERS)
def test_channels_are_where_channel_axis_says(solve):
    expected = solve(PHOTO.transpose(2, 0, 1), max_num_iter=2)
    for axis in (-1, 2):
        assert np.array_equal(solve(PHOTO, max_num_iter=2, channel_axis=axis), expected)
    middle = torch.from_numpy(PHOTO.transpose(0, 2, 1))
    got = solve(middle, max_num_iter=2, channel_axis=1)
    assert np.array_equal(got.numpy(), expected)
    batch = solve(np.stack([PHOTO, PHOTO]), max_num_iter=2, channel_axis=-1)
    assert np.array_equal(batch, np.stack([expected, expected]))


@pytest.mark.parametrize("solve", SOLVERS)
@pytest.mark.parametrize(
    ("image", "axis", "error", "message"),
    [
        (PHOTO, None, ValueError, r"channel_axis must be given for an image of shape \(14, 12, 3"),
        (PHOTO[None], None, ValueError, r"channel_axis must be given .* \(1, 14, 12, 3\)"),
        (
            np.zeros((9, 9, 9)),
            None,
            ValueError,
            "channel_axis must be 0 for an image of 9 channels",
        ),
        (PHOTO, 3, ValueError, r"channel_axis must be an axis of the image .*, but is 3"),
        (PHOTO, 1.0, ValueError, "channel_axis must be an axis"),
        (PHOTO[..., 0], -1, ValueError, "channel_axis must be None for an image without channels"),
        (np.ma.masked_less(PHOTO[..., 0], 0.5), None, TypeError, "an array without a mask"),
    ],
)
def test_what_is_refused(solve, image, axis, error, message):
    with pytest.raises(error, match=message):
        solve(image, channel_axis=axis)


def test_many_channels_with_channel_axis():
    many = generator.random((9, 8, 7))
    assert chan_vese(many, channel_axis=0, max_num_iter=2).shape == (8, 7)


# Volumes


def phantom(noise=0.1):
    """A bright ball of radius 8 mm with a dark core in 3 x 1 x 1 mm voxels, as of a scan."""
    spacing = (3.0, 1.0, 1.0)
    z, y, x = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * s for n, s in zip((11, 26, 24), spacing, strict=True)),
        indexing="ij",
    )
    distance = np.sqrt(z**2 + y**2 + x**2)
    organ = (distance < 8) & (distance > 3)
    scan = np.where(organ, 120.0, -40.0) + 160 * noise * generator.standard_normal(organ.shape)
    return scan.astype(np.float32), organ, spacing


def test_a_phantom_of_a_scan():
    scan, organ, spacing = phantom()
    mask, phi, energies = chan_vese(
        scan, mu=0.1, spacing=spacing, init_level_set="disk", extended_output=True
    )
    assert mask.dtype == bool and phi.dtype == np.float32 and mask.shape == scan.shape
    assert (mask & organ).sum() > 0.97 * (mask | organ).sum()
    assert energies[-1] < energies[0]


@pytest.mark.parametrize("channels", [1, 2])
def test_without_length_equal_slices_are_solved_as_one(channels):
    image = generator.random((channels, 12, 13))
    volume = np.repeat(image[:, None], 4, axis=1)
    options = dict(mu=0.0, lambda1=0.8, max_num_iter=15, tol=0.0, extended_output=True)
    start = generator.standard_normal((12, 13))
    mask, phi, energies = chan_vese(image, init_level_set=start, **options)
    masks, phis, sums = chan_vese(
        volume, init_level_set=np.repeat(start[None], 4, 0), spacing=(2, 1, 1), **options
    )
    assert (masks == mask).all()
    np.testing.assert_allclose(phis, np.repeat(phi[None], 4, 0), atol=1e-9)
    np.testing.assert_allclose(sums, 8 * np.array(energies), rtol=1e-9)


def naive_step(phi, image, mu, dt, spacing):
    """Voxel by voxel."""
    inside = phi > 0
    first = image[inside].mean() if inside.any() else 0
    second = image[~inside].mean() if (~inside).any() else 0
    result = np.empty_like(phi)
    last = np.array(phi.shape) - 1

    def at(index):
        return phi[tuple(np.clip(index, 0, last))]

    units = np.eye(3, dtype=int)
    for index in np.ndindex(phi.shape):
        here = np.array(index)
        slopes = [
            (at(here + u) - at(here - u)) / (2 * s) for u, s in zip(units, spacing, strict=True)
        ]
        pull = weights = 0.0
        for axis, step in enumerate(spacing):
            across = sum(slopes[k] ** 2 for k in range(3) if k != axis)
            for sign in (1, -1):
                side = at(here + sign * units[axis])
                weight = 1 / np.sqrt(1e-16 + ((side - phi[index]) / step) ** 2 + across) / step**2
                pull, weights = pull + weight * side, weights + weight
        delta = 1 / (1 + phi[index] ** 2)
        force = (image[index] - second) ** 2 - (image[index] - first) ** 2
        result[index] = (phi[index] + dt * delta * (mu * pull + force)) / (
            1 + mu * dt * delta * weights
        )
    return result


@pytest.mark.parametrize("shape", [(4, 3, 5), (1, 4, 3)])
def test_volumes_follow_the_equations(shape, monkeypatch):
    from mmlevelset.ops.classic import grid_solver

    monkeypatch.setattr(grid_solver, "SLAB", 2 * shape[1] * shape[2])  # slabs of two planes
    image, start = generator.random(shape), generator.standard_normal(shape)
    scaled = (image - image.min()) / (image.max() - image.min())
    spacing = (2.0, 1.0, 0.5)
    want = start
    for _ in range(3):
        want = naive_step(want, scaled, 0.3, 0.5, spacing)
    options = dict(mu=0.3, max_num_iter=3, tol=0.0, extended_output=True, spacing=spacing)
    phi = chan_vese(image, init_level_set=start, **options)[1]
    np.testing.assert_allclose(phi, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spacing", [(3, 1, 1), (1, 1, 1), (0.5, 0.5, 2)])
def test_the_energy_of_a_volume_falls(spacing):
    scan, _, _ = phantom(noise=0.3)
    energies = chan_vese(
        scan.astype(float), mu=0.2, spacing=spacing, dt=0.1, max_num_iter=30, extended_output=True
    )[2]
    assert all(later <= sooner + 1e-6 for sooner, later in pairwise(energies[2:]))


def test_batches_and_tensors_of_volumes():
    scan, _, spacing = phantom()
    scans = torch.from_numpy(np.stack([scan, scan[::-1].copy()]))[:, None]
    options = dict(mu=0.1, max_num_iter=4, spacing=spacing)
    together = chan_vese(scans, **options)
    assert isinstance(together, torch.Tensor) and together.shape == (2, 11, 26, 24)
    for one, mask in zip(scans, together, strict=True):
        assert torch.equal(chan_vese(one, **options), mask)


def test_bad_spacing_is_named():
    for spacing in ((1, 1, 1, 1), 2.0, (1, 0, 1), ("1", 1, 1)):
        with pytest.raises(ValueError, match="spacing must"):
            chan_vese(np.zeros((4, 4, 4)), spacing=spacing)
