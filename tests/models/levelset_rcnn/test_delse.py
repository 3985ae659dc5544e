import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.config import Config
from scipy.ndimage import distance_transform_edt

from mmlevelset.models import (
    AngularLoss,
    BalancedMaskLoss,
    DELSEHyperparameterHead,
    DELSEMaskHead,
    FixedDELSEHyperparameters,
    GlobalDELSEHyperparameters,
    TSDFSquareLoss,
)
from mmlevelset.models.levelset_rcnn.geodesic import evolve_geodesic
from mmlevelset.models.levelset_rcnn.targets import boundary_directions
from mmlevelset.ops import contour_length, signed_distance
from tests.models.levelset_rcnn.test_detector import batch, total

NAMES = ("initial", "velocity", "modulation", "alpha", "beta", "gamma", "dt")
SOBEL = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=torch.float64) / 8


def gradient(image):
    return [F.conv2d(image[None, None], k[None, None])[0, 0] for k in (SOBEL, SOBEL.T)]


def divergence(along_x, along_y):
    return gradient(along_x)[0] + gradient(along_y)[1]


def naive_step(d, velocity, modulation, alpha, beta, gamma, dt, eta):
    """Return the next d of a region (H, W) by the equation, term by term."""
    gx, gy = gradient(F.pad(d[None, None], (2, 2, 2, 2), mode="replicate")[0, 0])
    slope = (gx**2 + gy**2 + eta).sqrt()
    curvature = divergence(gx / slope, gy / slope)
    regular = divergence((1 - 1 / slope) * gx, (1 - 1 / slope) * gy)
    rows = []
    for i in range(d.shape[0]):
        row = []
        for j in range(d.shape[1]):
            vx, vy = velocity[:, i, j]
            before = d[i, max(j - 1, 0)] if vx > 0 else d[i, min(j + 1, d.shape[1] - 1)]
            above = d[max(i - 1, 0), j] if vy > 0 else d[min(i + 1, d.shape[0] - 1), j]
            row.append(vx.abs() * (d[i, j] - before) + vy.abs() * (d[i, j] - above))
        rows.append(torch.stack(row))
    transport = torch.stack(rows)
    smooth = modulation * slope[1:-1, 1:-1] * curvature
    return d + dt * (-alpha * transport + beta * smooth + gamma * regular)


def naive(initial, velocity, modulation, alpha, beta, gamma, dt, truncation, eta):
    results = []
    for m, phi in enumerate(initial):
        trajectory = [phi * truncation]
        for n in range(dt.shape[1]):
            settings = alpha[m], beta[m], gamma[m], dt[m, n]
            step = naive_step(trajectory[-1], velocity[m], modulation[m], *settings, eta)
            trajectory.append(step)
        results.append(torch.stack(trajectory) / truncation)
    return torch.stack(results)


def example(count=2, height=9, width=7, steps=3):
    torch.manual_seed(0)
    values = dict(
        initial=F.interpolate(torch.randn(count, 1, 4, 3), (height, width), mode="bilinear")[:, 0],
        velocity=F.normalize(torch.randn(count, 2, height, width), dim=1),
        modulation=torch.rand(count, height, width),
        **{name: torch.rand(count) for name in ("alpha", "beta", "gamma")},
        dt=torch.rand(count, steps),
    )
    return {name: value.double().requires_grad_() for name, value in values.items()}


def test_evolution_is_the_equation():
    values = example()
    values["initial"].data[0].clamp_(-0.5, 0.5)  # with plateaus, as a truncated distance has
    weight = torch.randn(2, 4, 9, 7, dtype=torch.float64)
    ours = evolve_geodesic(**values, truncation=3.0, eta=1e-2)
    expected = naive(**values, truncation=3.0, eta=1e-2)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)
    for name, one, other in zip(
        NAMES,
        torch.autograd.grad((ours * weight).sum(), [values[name] for name in NAMES]),
        torch.autograd.grad((expected * weight).sum(), [values[name] for name in NAMES]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9, msg=name)


def test_evolution_in_single_precision_under_autocast():
    values = {name: value.detach() for name, value in example().items()}
    expected = evolve_geodesic(**values, truncation=3.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = evolve_geodesic(**{n: v.float() for n, v in values.items()}, truncation=3.0)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, expected.float(), rtol=1e-4, atol=1e-4)


def test_flat_level_sets_stay_and_have_finite_gradients():
    values = {n: v.detach().float().requires_grad_() for n, v in example(2, 12, 11).items()}
    values["initial"].data.fill_(1)
    result = evolve_geodesic(**values, truncation=8.0)
    torch.testing.assert_close(result, torch.ones_like(result))
    result.square().sum().backward()
    assert all(value.grad.isfinite().all() for value in values.values())


def test_evolution_of_no_regions():
    values = {name: value[:0] for name, value in example().items()}
    assert evolve_geodesic(**values).shape == (0, 4, 9, 7)


def disc(size, x, y, radius):
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return ((columns - x) ** 2 + (rows - y) ** 2).sqrt() < radius


def evolve(initial, velocity=None, alpha=0.0, beta=0.0, gamma=0.0, dt=0.5, steps=3, **kwargs):
    count = len(initial)
    if velocity is None:
        velocity = torch.zeros(count, 2, *initial.shape[1:])
    settings = [torch.full((count,), value) for value in (alpha, beta, gamma)]
    times = torch.full((count, steps), dt)
    return evolve_geodesic(initial, velocity, torch.ones_like(initial), *settings, times, **kwargs)[
        :, -1
    ]


def iou(phi, mask):
    return ((phi > 0) & mask).sum() / ((phi > 0) | mask).sum()


@pytest.mark.parametrize(("x", "radius"), [(33, 14), (28, 8), (28, 19)])
def test_the_true_velocity_carries_the_contour_to_the_boundary(x, radius):
    mask = disc(56, 28, 27, 13)[None]
    initial = signed_distance(disc(56, x, 27, radius)[None], 8.0)
    towards = boundary_directions(mask)
    quality = [iou(initial, mask)]
    for steps in (3, 6, 15):
        final = evolve(initial, towards, alpha=1.0, dt=0.7, steps=steps, truncation=8.0)
        quality.append(iou(final, mask))
    assert quality == sorted(quality) and quality[1] > quality[0] + 0.05 and quality[-1] > 0.97
    away = evolve(initial, -towards, alpha=1.0, dt=0.7, truncation=8.0)
    assert iou(away, mask) < quality[0]


def test_the_speed_is_alpha_samples_in_a_unit_of_time():
    initial = (torch.arange(40.0) - 20.5).expand(1, 40, 40) / 8  # inside on the right
    velocity = torch.zeros(1, 2, 40, 40)
    velocity[:, 0] = 1
    final = evolve(initial, velocity, alpha=1.5, dt=0.5, steps=4, truncation=8.0)
    torch.testing.assert_close(final[..., 5:-5], initial[..., 5:-5] - 3.0 / 8)


def test_the_curvature_shortens_a_wiggly_contour():
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    angle = torch.atan2(rows - 31.5, columns - 31.5)
    radius = 18 + 3 * torch.cos(8 * angle)
    mask = (((rows - 31.5) ** 2 + (columns - 31.5) ** 2).sqrt() < radius)[None]
    initial = signed_distance(mask, 8.0)
    final = evolve(initial, beta=1.0, steps=15, truncation=8.0)
    before, after = (contour_length((phi > 0).float(), isotropic=True) for phi in (initial, final))
    assert after < 0.95 * before
    assert abs((final > 0).sum() / mask.sum() - 1) < 0.1, "the wiggles go, the disc stays"


@pytest.mark.parametrize("truncation", [1.0, 8.0])
def test_the_regularisation_drives_the_slope_to_one_sample_in_a_sample(truncation):
    distance = signed_distance(disc(64, 32, 32, 20)[None])
    near = (distance.abs() < 6) & (distance.abs() > 1)

    def deviation(phi):
        slopes = torch.stack(torch.gradient(phi * truncation, dim=(1, 2)))
        return (slopes.square().sum(0).sqrt() - 1).abs()[near].mean()

    settings = dict(gamma=0.2, steps=20, truncation=truncation)
    kept = evolve(distance / truncation, **settings)
    assert deviation(kept) < 0.05 and (kept * truncation - distance).abs()[near].max() < 0.3
    waves = torch.sin(torch.arange(64.0) / 1.5).expand(1, 64, 64)
    initial = (distance + 0.6 * waves) / truncation
    assert deviation(evolve(initial, **settings)) < 0.7 * deviation(initial)


def test_directions_are_those_to_the_nearest_pixel_of_the_other_side():
    rng = np.random.default_rng(0)
    mask = torch.stack([disc(48, 24, 22, 13) | disc(48, 34, 30, 9), disc(48, 5, 40, 20)])
    mask[0, 10:14] &= torch.from_numpy(rng.random((4, 48)) < 0.9)
    directions = boundary_directions(mask)
    for inside, ours in zip(mask.numpy(), directions.numpy(), strict=True):
        expected = np.zeros_like(ours)
        for side in (inside, ~inside):
            nearest = distance_transform_edt(side, return_distances=False, return_indices=True)
            towards = (nearest - np.indices(inside.shape))[::-1]
            expected[:, side] = (towards / np.maximum(np.hypot(*towards), 1e-6))[:, side]
        cosine = (ours * expected).sum(0)
        assert np.median(cosine) > 0.99 and np.mean(cosine > 0.7) > 0.95
    length = directions.square().sum(1).sqrt()
    assert ((length - 1).abs().minimum(length) < 1e-5).all()


def test_directions_beside_a_straight_boundary_and_without_one():
    mask = torch.zeros(3, 8, 10, dtype=torch.bool)
    mask[0, :, 4:] = True
    mask[1] = True
    directions = boundary_directions(mask)
    assert (directions[0, 0] == torch.tensor([1.0] * 4 + [-1] * 6)).all()
    assert not directions[0, 1].any() and not directions[1:].any()
    assert boundary_directions(mask[:0]).shape == (0, 2, 8, 10)


def test_losses_are_the_definitions():
    torch.manual_seed(0)
    phi, tsdf = torch.randn(2, 2, 5, 5, dtype=torch.float64)
    mask = torch.rand(2, 5, 5) > 0.7
    square = TSDFSquareLoss()(phi, tsdf, mask)
    torch.testing.assert_close(square, ((phi - tsdf) ** 2).mean())
    soft = 0.5 + torch.atan(phi / 0.2) / torch.pi
    terms = []
    for h, inside in zip(soft, mask, strict=True):
        outside = (~inside).sum() / 25
        terms.append(-(outside * h[inside].log().sum()))
        terms.append(-((1 - outside) * (1 - h[~inside]).log().sum()))
    balanced = BalancedMaskLoss(0.2)(phi, tsdf, mask)
    torch.testing.assert_close(balanced, sum(terms) / 50)


def test_the_angle_is_squared_over_the_pixels_that_have_a_direction():
    angles = torch.tensor([[[0.3, -1.0, 3.0, 0.5]]], requires_grad=True)
    velocity = torch.stack([angles.cos(), angles.sin()], 1)
    direction = torch.zeros(1, 2, 1, 4)
    direction[:, 0, :, :3] = 1
    loss = AngularLoss()(velocity, direction)
    torch.testing.assert_close(loss, torch.tensor((0.3**2 + 1 + 9) / 3))
    loss.backward()
    expected = torch.tensor([[[0.3, -1.0, 3.0, 0]]]) * 2 / 3
    torch.testing.assert_close(angles.grad, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cosine", [1.0, -1.0])
def test_the_angle_has_a_finite_gradient_along_the_axis(cosine):
    velocity = torch.tensor([cosine, 0.0]).view(1, 2, 1, 1).requires_grad_()
    AngularLoss()(velocity, torch.tensor([1.0, 0]).view(1, 2, 1, 1)).backward()
    assert velocity.grad.isfinite().all()


def test_losses_of_nothing():
    phi = torch.zeros(0, 4, 4, requires_grad=True)
    for loss in (TSDFSquareLoss(), BalancedMaskLoss()):
        assert loss(phi, torch.zeros(0, 4, 4), torch.zeros(0, 4, 4, dtype=torch.bool)) == 0
    assert AngularLoss()(torch.zeros(0, 2, 4, 4), torch.zeros(0, 2, 4, 4)) == 0
    assert AngularLoss()(torch.ones(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)) == 0


@pytest.mark.parametrize(
    "make", [DELSEHyperparameterHead, GlobalDELSEHyperparameters, FixedDELSEHyperparameters]
)
def test_all_hyperparameters_start_at_those_tuned_by_hand(make):
    head = make(num_steps=4, in_channels=8)
    head.init_weights()
    settings = head(torch.zeros(5, 8, 14, 14))
    for name, value in dict(alpha=1.0, beta=0.5, gamma=0.1, dt=0.7).items():
        assert getattr(settings, name).shape == ((5, 4) if name == "dt" else (5,))
        assert (getattr(settings, name) - value).abs().max() < 0.05, name


def mask_head(**options):
    torch.manual_seed(0)
    narrow = dict(type="mmlevelset.ChanVeseFeatureHead", num_convs=1, conv_channels=8)
    defaults = dict(
        num_convs=1,
        in_channels=8,
        conv_out_channels=8,
        num_classes=3,
        mask_size=32,
        velocity_head=dict(narrow, upsample_channels=(8, 2)),
        modulation_head=dict(narrow, upsample_channels=(8, 1)),
    )
    head = DELSEMaskHead(**(defaults | options))
    head.init_weights()
    return head


def test_forward():
    head = mask_head(num_steps=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head(torch.randn(2, 8, 14, 14), torch.tensor([0, 2]))
    assert found.trajectory.shape == (2, 3, 32, 32) and found.velocity.shape == (2, 2, 32, 32)
    assert found.trajectory.dtype == found.velocity.dtype == torch.float32
    assert found.refined is None
    torch.testing.assert_close(found.velocity.square().sum(1), torch.ones(2, 32, 32))
    (found.trajectory.square().sum() + found.velocity.square().sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    none = head(torch.randn(0, 8, 14, 14), torch.zeros(0, dtype=torch.long))
    assert none.trajectory.shape == (0, 3, 32, 32) and none.velocity.shape == (0, 2, 32, 32)


@pytest.mark.parametrize("detach", [True, False])
def test_gradients_through_the_initial_level_set(detach):
    head = mask_head(detach_initial=detach)
    head(torch.randn(2, 8, 14, 14), torch.tensor([0, 2])).final.sum().backward()
    assert (head.conv_logits.weight.grad.abs().sum() == 0) == detach
    for module in (head.velocity_head, head.modulation_head):
        assert module.output.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(num_steps=0), "num_steps must be at least 1"),
        (dict(eta=0.0), "eta must be positive"),
        (dict(truncation=0), "truncation must be positive"),
        (
            dict(velocity_head=dict(type="ChanVeseFeatureHead", upsample_channels=(8, 3))),
            r"velocity_head.upsample_channels must end in 2, but is \(8, 3\)",
        ),
        (
            dict(hyperparameter_head=dict(type="mmlevelset.FixedDELSEHyperparameters", beta=-1.0)),
            "beta must not be negative, but is -1.0",
        ),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        mask_head(**options)


def detector(name, **head):
    torch.manual_seed(0)
    config = Config.fromfile(f"configs/quickstart/{name}_shapes.py")
    config.model.roi_head.mask_head.update(mask_size=28, **head)
    config.model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=5, level_sets=True)
    model = MODELS.build(config.model)
    model.init_weights()
    return model


@pytest.mark.parametrize("name", ["delse", "delse_hyperparameters"])
def test_training_step_and_prediction(name):
    model = detector(name)
    inputs, samples = batch()
    for sample in samples:  # the balanced loss is zero where the object fills its box
        sample.gt_instances.masks.masks[:, 55:] = 0
    losses = model.loss(inputs, samples)
    total(losses).backward()
    assert {"loss_tsdf_initial", "loss_tsdf_final", "loss_velocity"} <= set(losses)
    for parameter_name, parameter in model.roi_head.mask_head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name
    with torch.no_grad():
        for result in model.eval().predict(*batch()):
            instances = result.pred_instances
            assert instances.masks.shape == (5, 96, 96)
            assert instances.level_sets.shape == (5, 4, 28, 28)


def test_a_batch_without_objects():
    model = detector("delse")
    losses = model.loss(*batch(boxes=()))
    total(losses).backward()
    assert losses["loss_tsdf_initial"] == losses["loss_velocity"] == 0
    assert all(not p.grad.any() for p in model.roi_head.mask_head.parameters())


def test_the_directions_see_the_boundary_outside_the_box():
    head = mask_head(mask_size=28)
    mask = torch.zeros(1, 64, 64, dtype=torch.uint8)
    mask[0, 10:50, 10:50] = 1
    box = torch.tensor([[20.0, 12, 48, 40]])  # one pixel a sample; it ends 2 pixels inside
    inside, _, directions = head._targets_of_image(mask, box, torch.zeros(1, dtype=torch.long))
    assert inside.all() and directions.shape == (1, 2, 28, 28)
    torch.testing.assert_close(directions[0, :, 14, -1], torch.tensor([1.0, 0]))
    torch.testing.assert_close(directions[0, :, 0, 10], torch.tensor([0, -1.0]))
