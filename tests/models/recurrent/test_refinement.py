import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule

from mmlevelset.models import RecurrentRefinement
from mmlevelset.models.recurrent import crop_refinement
from mmlevelset.ops.boxes import mask_boxes, paste_crops
from mmlevelset.registry import MODELS

SIZE = (6, 5)


def make(kind="RecurrentRefinement", noise=0.3, seed=0, **changes) -> RecurrentRefinement:
    """A refinement with initial weights plus noise."""
    torch.manual_seed(seed)
    config = dict(
        type=f"mmlevelset.{kind}",
        in_channels=4,
        feature_channels=2,
        hidden_channels=2,
        num_steps=2,
    )
    if kind == "CropRefinement":
        config["size"] = 7
    model = MODELS.build(config | changes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return model


def inputs(kind="RecurrentRefinement", count=2, seed=1, dtype=torch.float32):
    """Masks, image and features, each of another resolution."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(shape, generator=generator, dtype=dtype)

    owner = () if kind == "CropRefinement" else (count,)
    height, width = SIZE
    return (
        3 * random(count, *SIZE),
        random(*owner, 3, 2 * height, 2 * width),
        random(*owner, 4, height // 2, width),
    )


KINDS = ["RecurrentRefinement", "CropRefinement"]


class Outer(BaseModule):
    """Sets the weights of every convolution inside it, as SOLOv2's head does."""

    def __init__(self, inner):
        super().__init__(dict(type="Normal", layer="Conv2d", std=0.01))
        self.inner = inner


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("initialised", ["not", "alone", "inside"])
def test_masks_stay_as_they_are_until_the_refinement_has_learned(kind, initialised):
    model = make(kind, noise=0)
    if initialised == "alone":
        model.init_weights()
    if initialised == "inside":
        Outer(model).init_weights()
    masks, image, features = inputs(kind)
    assert torch.equal(model(masks, image, features), masks)
    for maps in model.network.cells[0].candidate.weight.chunk(2, 1):  # U_h and W_h
        assert (maps[:, :, 1, 1].diagonal() > 0.5).all()  # near the identity


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_step_of_training_leaves_the_start(kind):
    model = make(kind, noise=0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    masks, image, features = inputs(kind)
    model(masks, image, features).square().sum().backward()
    optimizer.step()
    assert not torch.equal(model(masks, image, features), masks)


def test_the_recurrent_level_sets_answer_is_added():
    """phi_0 is 2 p - 1, p the mask's probability; foreground minus background is added."""
    model = make(feature_channels=0)
    masks, image, _ = inputs()
    image = F.interpolate(image, SIZE, mode="bilinear", align_corners=False)
    result = model.network(image, 2 * masks.sigmoid() - 1)
    expected = masks + result.logits[:, 1] - result.logits[:, 0]
    torch.testing.assert_close(model(masks, image), expected)


@pytest.mark.parametrize("changes", [{}, dict(image_channels=0), dict(tied=False, slope=2.0)])
def test_gradients_by_differences(changes):
    model = make(**changes).double()
    values = [value.requires_grad_() for value in inputs(count=1, dtype=torch.float64)]
    unused = 1 if "image_channels" in changes else None
    used = [value for index, value in enumerate(values) if index != unused]

    def refine(*given):
        masks, *rest = given
        return model(masks, None, *rest) if unused else model(masks, *rest)

    assert torch.autograd.gradcheck(refine, used)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_everything(kind):
    model = make(kind)
    values = [value.requires_grad_() for value in inputs(kind)]
    model(*values).square().sum().backward()
    for tensor in [*values, *model.parameters()]:
        assert tensor.grad is not None and tensor.grad.isfinite().all() and tensor.grad.any()


@pytest.mark.parametrize("kind", KINDS)
def test_detach_stops_gradients_into_masks_and_features(kind):
    model = make(kind, detach=True)
    masks, image, features = (value.requires_grad_() for value in inputs(kind))
    refined = model(masks, image, features)
    torch.testing.assert_close(refined, make(kind)(masks, image, features))
    refined.sum().backward()
    assert masks.grad is None and features.grad is None
    assert all(parameter.grad.any() for parameter in model.network.output.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_no_masks(kind):
    model = make(kind)
    refined = model(*inputs(kind, count=0))
    assert refined.shape == (0, *SIZE)
    refined.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), name


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_computed_in_float32(kind):
    model = make(kind)
    masks, image, features = inputs(kind)
    masks, features = masks.bfloat16(), features.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        refined = model(masks, image, features)
    assert refined.dtype == torch.float32
    expected = model(masks.float(), image, features.float())
    torch.testing.assert_close(refined, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_what_the_image_shows(kind):
    """Masks that are too narrow, of objects that are bright in the image."""
    torch.manual_seed(0)
    truth = torch.zeros(1, 24, 24)
    truth[:, 4:20, 6:18] = 1
    masks = torch.full_like(truth, -1.0)
    masks[:, 4:20, 8:16] = 1
    image = (2 * truth - 1 + 0.1 * torch.randn(24, 24)).expand(3, 24, 24)
    model = make(kind, noise=0, feature_channels=0, num_steps=3, hidden_channels=4)
    given = (masks, image if kind == "CropRefinement" else image[None])
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(20):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(*given), truth).backward()
        optimizer.step()
    with torch.no_grad():
        wrong = [((found > 0) != (truth > 0)).sum() for found in (masks, model(*given))]
    assert wrong[0] == 64 and wrong[1] < 0.5 * wrong[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(feature_channels=-1), "feature_channels must be 0 or a positive integer, but is -1"),
        (dict(image_channels=1.5), "image_channels must be 0 or a positive integer, but is 1.5"),
        (dict(feature_channels=0, image_channels=0), "must not both be 0"),
        (dict(slope=0), "slope must be positive, but is 0"),
        (dict(num_steps=0), "num_steps must be a positive integer, but is 0"),
        (dict(kind="CropRefinement", size=0), "size must be a positive integer, but is 0"),
        (dict(kind="CropRefinement", margin=-0.1), "margin must be at least 0, but is -0.1"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_bad_input():
    model = make()
    masks, image, features = inputs()
    with pytest.raises(ValueError, match="image must be given unless image_channels is 0"):
        model(masks, None, features)
    with pytest.raises(ValueError, match="features must be given unless feature_channels is 0"):
        model(masks, image)
    with pytest.raises(ValueError, match=r"masks must have shape \(M, H, W\), but has"):
        model(masks[0], image, features)
    with pytest.raises(ValueError, match=r"features must have shape \(2, 4, h, w\), but has"):
        model(masks, image, features[:, :3])
    with pytest.raises(TypeError, match="masks must be floating point"):
        model(masks > 0, image, features)
    crop = make("CropRefinement")
    with pytest.raises(ValueError, match=r"image must have shape \(3, h, w\), but has"):
        crop(masks, image, features[0])
    with pytest.raises(ValueError, match="image must be given unless image_channels is 0"):
        crop(masks, None, features[0])


# Crops


def test_crops_and_pastes_lie_where_they_should(monkeypatch):
    """Ramps: the value of mask, image and features is the mask's column."""
    seen = {}

    def answer(self, masks, image, projected):
        seen.update(masks=masks, image=image, projected=projected)
        return masks

    monkeypatch.setattr(RecurrentRefinement, "_answer", answer)
    size = 10
    model = make("CropRefinement", size=size, margin=0.0)
    torch.nn.init.constant_(model.projection.conv.weight, 1 / 4)  # the mean of the features
    columns = torch.arange(36) + 0.5
    masks = (columns - 10).expand(1, 12, 36)  # positive from column 10: a box from 9 to 36
    image = ((torch.arange(108) + 0.5) / 3 - 10).expand(3, 36, 108)
    features = ((torch.arange(18) + 0.5) * 2 - 10).expand(4, 6, 18)
    refined = model(masks, image, features)
    cells = (torch.arange(size) + 0.5) * (36 - 9) / size + 9 - 10
    for name, maps in seen.items():
        maps = maps if name == "masks" else maps[0]
        torch.testing.assert_close(maps[..., :-1], cells[:-1].expand_as(maps[..., :-1]), msg=name)
    added = (refined - masks)[0]
    assert not added[:, :9].any()
    inner = slice(11, 31)  # from the centre of the first cell to the centre of the last but one
    expected = (columns[inner] - 10).expand(12, -1)
    torch.testing.assert_close(added[:, inner], expected, rtol=0, atol=1e-4)


def test_a_correction_does_not_depend_on_the_other_masks(monkeypatch):
    model = make("CropRefinement")
    masks, image, features = inputs("CropRefinement", count=5)
    together = model(masks, image, features)
    for mask, refined in zip(masks, together, strict=True):
        torch.testing.assert_close(model(mask[None], image, features)[0], refined)
    monkeypatch.setattr(crop_refinement, "MASKS_AT_ONCE", 2)
    with torch.no_grad():
        torch.testing.assert_close(model(masks, image, features), together)


def test_features_are_projected_once_for_all_masks(monkeypatch):
    model, seen = make("CropRefinement"), []
    model.projection.conv.register_forward_hook(lambda _, given, __: seen.append(given[0].shape))
    masks, image, features = inputs("CropRefinement", count=3)
    refined = model(masks, image, features)
    monkeypatch.setattr(crop_refinement, "MASKS_AT_ONCE", 2)
    with torch.no_grad():
        model(masks, image, features)
    assert seen == [features.shape] * 2
    # The result is the same in the other order: crops of the features, each projected.
    boxes, size = mask_boxes(masks > 0, model.margin), masks.shape[1:]
    crops = [
        model._crops(maps, boxes, size) for maps in (masks[:, None], image[None], features[None])
    ]
    added = RecurrentRefinement.correction(model, crops[0][:, 0], *crops[1:])
    torch.testing.assert_close(refined, masks + paste_crops(added, boxes, size))


def test_a_mask_far_away_from_a_change_stays():
    """The means of a mask are the means of its own box."""
    model = make("CropRefinement", feature_channels=0)
    masks = torch.full((1, 20, 40), -3.0)
    masks[0, 4:10, 4:10] = 3
    image = torch.randn(3, 20, 40, generator=torch.Generator().manual_seed(0))
    other = image.clone()
    other[:, :, 20:] += 5
    assert torch.equal(model(masks, image), model(masks, other))
