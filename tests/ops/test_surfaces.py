import numpy as np
import pytest
import torch

from mmlevelset.ops import chan_vese, signed_distance, surface


def volume_of(found):
    first, second, third = np.moveaxis(found.vertices[found.faces], 1, 0)
    return np.einsum("fi,fi->", first, np.cross(second, third)) / 6


def area_of(found):
    first, second, third = np.moveaxis(found.vertices[found.faces], 1, 0)
    return np.linalg.norm(np.cross(second - first, third - first), axis=1).sum() / 2


def ball(spacing, radius=9.0, sizes=(17, 30, 28)):
    z, y, x = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * s for n, s in zip(sizes, spacing, strict=True)),
        indexing="ij",
    )
    return radius - np.sqrt(z**2 + y**2 + x**2)


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_a_ball_in_millimetres(kind):
    spacing = (2.0, 1.0, 1.0)
    phi = ball(spacing)
    found = surface(phi if kind == "array" else torch.from_numpy(phi), spacing=spacing)
    assert volume_of(found) == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.02)
    assert area_of(found) == pytest.approx(4 * np.pi * 9**2, rel=0.01)
    middle = (np.array(phi.shape) - 1) / 2 * spacing
    radius = np.linalg.norm(found.vertices - middle, axis=1)
    np.testing.assert_allclose(radius, 9, atol=0.1)


def test_a_full_volume_is_its_box():
    found = surface(np.full((3, 4, 5), 2.0), spacing=(3, 1, 2))
    assert found.vertices.min(0).tolist() == [-1.5, -0.5, -1.0]
    assert found.vertices.max(0).tolist() == [7.5, 3.5, 9.0]
    assert 0.8 * 9 * 4 * 10 < volume_of(found) <= 9 * 4 * 10


def test_an_empty_volume_and_a_single_voxel():
    assert surface(-np.ones((3, 3, 3))).faces.shape == (0, 3)
    assert volume_of(surface(np.ones((1, 1, 1), bool))) > 0


def test_from_a_scan_to_a_surface():
    phi = ball((3.0, 1.0, 1.0), sizes=(11, 28, 28))
    scan = np.where(phi > 0, 100.0, 0.0) + np.random.default_rng(0).normal(0, 10, phi.shape)
    mask = chan_vese(scan, mu=0.1, init_level_set="disk", spacing=(3, 1, 1))
    smooth = signed_distance(mask, spacing=(3, 1, 1))
    found = surface(smooth, spacing=(3, 1, 1))
    assert volume_of(found) == pytest.approx(mask.sum() * 3, rel=0.1)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"phi must have shape \(D, H, W\)"):
        surface(np.zeros((1, 2, 3, 4)))
    with pytest.raises(ValueError, match=r"phi must have shape \(..., D, H, W\), but has \(2, 3"):
        surface(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="spacing must be 3 numbers for a volume"):
        surface(np.zeros((2, 3, 4)), spacing=(1, 1))
    with pytest.raises(ValueError, match="phi must be finite"):
        surface(np.full((2, 3, 4), np.nan))
    with pytest.raises(TypeError, match="phi must be floating point"):
        surface(np.zeros((2, 3, 4), int))
