import re

import numpy as np
import pytest
import torch
from mmdet.registry import TRANSFORMS
from mmdet.structures import DetDataSample
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import BaseModule
from mmengine.optim import OptimWrapper
from mmengine.structures import PixelData
from PIL import Image

from mmlevelset.models import RLS, Segmentation, segmentation_loss
from mmlevelset.registry import MODELS

PREPROCESSOR = dict(
    type="mmdet.DetDataPreprocessor", mean=[100.0] * 3, std=[50.0] * 3, pad_seg=True
)
NETWORKS = {
    "dense": dict(type="mmlevelset.RecurrentLevelSet", size=(8, 8), num_steps=2),
    "conv": dict(type="mmlevelset.RecurrentLevelSet", gate="conv", hidden_channels=2, num_steps=2),
    "f-connet": dict(type="mmlevelset.FConNet", size=(8, 8), hidden=10),
}


class Threshold(BaseModule):
    """Finds the object where the first channel is above zero; keeps its inputs."""

    def __init__(self, size=None) -> None:
        super().__init__()
        self.size = size
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.seen: list[torch.Tensor] = []
        self.targets: list[torch.Tensor] = []

    def forward(self, image):
        self.seen.append(image)
        phi = self.scale * image[:, 0]
        return Segmentation(torch.stack([-phi, phi], 1), phi[None])

    def loss(self, result, target):
        self.targets.append(target)
        return segmentation_loss(result.logits, target)


def make(network="conv", seed: int = 0, **changes) -> RLS:
    torch.manual_seed(seed)
    config = dict(type="mmlevelset.RLS", data_preprocessor=PREPROCESSOR)
    return MODELS.build(
        config | dict(network=NETWORKS[network] if isinstance(network, str) else network) | changes
    )


def item(mask: np.ndarray | None, height: int = 0, width: int = 0, ori_shape=None) -> dict:
    """An image of 200 on the mask and 0 outside, as a data set gives it."""
    mask = np.zeros((height, width), np.uint8) if mask is None else mask.astype(np.uint8)
    sample = DetDataSample(
        metainfo=dict(img_shape=mask.shape, ori_shape=ori_shape or mask.shape, img_id=0)
    )
    sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(mask)[None])
    image = torch.from_numpy((mask == 1) * np.uint8(200)).expand(3, *mask.shape)
    return dict(inputs=image, data_samples=sample)


def square(height: int, width: int, *box: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    top, left, bottom, right = box
    mask[top:bottom, left:right] = True
    return mask


def prepared(model: RLS, items: list[dict], training: bool = True) -> dict:
    return model.data_preprocessor(pseudo_collate(items), training)


def predicted(model: RLS, items: list[dict]) -> list[torch.Tensor]:
    with torch.no_grad():
        samples = model.eval().test_step(pseudo_collate(items))
    return [sample.pred_sem_seg.sem_seg for sample in samples]


MASKS = [square(12, 10, 2, 1, 9, 8), square(7, 20, 0, 5, 7, 20), square(12, 10, 5, 5, 12, 10)]


# Sizes


def test_each_pixel_is_predicted_in_its_place():
    found = predicted(make(dict(type=Threshold)), [item(mask) for mask in MASKS])
    for mask, labels in zip(MASKS, found, strict=True):
        assert labels.shape == (1, *mask.shape)
        assert np.array_equal(labels[0].numpy() == 1, mask)


def test_the_network_never_sees_the_padding():
    model = make(dict(type=Threshold))
    predicted(model, [item(mask) for mask in MASKS])
    assert [tuple(image.shape) for image in model.network.seen] == [(2, 3, 12, 10), (1, 3, 7, 20)]
    assert torch.equal(model.network.seen[1].unique(), torch.tensor([-2.0, 2.0]))
    for network in NETWORKS:
        model = make(network)
        together = predicted(model, [item(mask) for mask in MASKS])
        alone = [predicted(model, [item(mask)])[0] for mask in MASKS]
        for first, second in zip(together, alone, strict=True):
            assert torch.equal(first, second)


@pytest.mark.parametrize("of_network", [True, False])
def test_images_are_resized_to_the_network_and_predictions_back(of_network):
    size = (16, 24)
    model = make(
        dict(type=Threshold, size=size if of_network else None),
        input_size=None if of_network else size,
    )
    assert model.input_size == size
    mask = square(8, 6, 2, 3, 8, 6)  # a half and two thirds of the sides
    found = predicted(model, [item(mask), item(square(32, 24, 8, 12, 32, 24))])
    assert [tuple(image.shape) for image in model.network.seen] == [(2, 3, 16, 24)]
    assert np.array_equal(found[0][0].numpy() == 1, mask)
    assert np.array_equal(found[1][0].numpy() == 1, square(32, 24, 8, 12, 32, 24))


def test_predictions_have_the_size_of_the_file():
    for box in ((2, 0, 8, 6), (0, 0, 8, 3)):  # their straight edges stay where they are
        (found,) = predicted(
            make(dict(type=Threshold)), [item(square(8, 6, *box), ori_shape=(80, 60))]
        )
        assert np.array_equal(found[0].numpy() == 1, square(80, 60, *[10 * side for side in box]))


def test_labels_are_resized_and_unlabelled_pixels_stay():
    model = make(dict(type=Threshold, size=(4, 6)))
    mask = square(8, 12, 2, 4, 8, 12).astype(np.uint8)
    mask[:2] = 255
    data = prepared(model, [item(mask), item(square(20, 6, 5, 0, 20, 6))])
    model.loss(data["inputs"], data["data_samples"])
    (target,) = model.network.targets
    expected = torch.zeros(2, 4, 6, dtype=torch.long)
    expected[0, 1:, 2:] = 1
    expected[0, 0] = 255
    expected[1, 1:] = 1
    assert torch.equal(target.long(), expected)


def test_the_loss_is_the_mean_over_images():
    model = make(dict(type=Threshold))
    items = [item(mask) for mask in MASKS]
    items[1]["inputs"] = 200 - items[1]["inputs"]
    data = prepared(model, items)
    together = model.loss(data["inputs"], data["data_samples"])["loss_ce"].item()
    alone = []
    for single in items:
        data = prepared(model, [single])
        alone.append(model.loss(data["inputs"], data["data_samples"])["loss_ce"].item())
    assert together == pytest.approx(np.mean(alone)) and alone[1] > 10 * alone[0]


# Training


@pytest.mark.parametrize("network", NETWORKS)
def test_training_steps_reach_every_parameter_and_lower_the_loss(network):
    model = make(network).train()
    optimizer = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.01))
    items = [item(mask) for mask in MASKS]
    losses = []
    for _ in range(20):
        log = model.train_step(pseudo_collate(items), optimizer)
        losses.append(log["loss"].item())
    assert losses[-1] < 0.9 * losses[0]
    data = prepared(model, items)
    model.loss(data["inputs"], data["data_samples"])["loss_ce"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_images_without_an_object_train():
    model = make("conv")
    data = prepared(model, [item(None, 6, 5), item(np.full((6, 5), 255))])
    loss = model.loss(data["inputs"], data["data_samples"])["loss_ce"]
    loss.backward()
    assert 0 < loss.item() < 10


@pytest.mark.parametrize("network", NETWORKS)
def test_tensor_mode_and_features(network):
    model = make(network).eval()
    images = torch.randn(2, 3, 12, 10)
    logits = model(images, None, mode="tensor")
    assert logits.shape == (2, 2, *(model.input_size or (12, 10)))
    assert model.extract_feat(images)[0] is images


def test_grey_images_have_one_channel(tmp_path):
    Image.fromarray(np.full((9, 8, 3), 50, np.uint8)).save(tmp_path / "a.png")
    steps = [
        dict(type="mmlevelset.LoadImage", color_type="grayscale"),
        dict(type="mmdet.PackDetInputs", meta_keys=("ori_shape", "img_shape")),
    ]
    pipeline = Compose([TRANSFORMS.build(step) for step in steps])
    model = make(
        NETWORKS["conv"] | dict(in_channels=1),
        data_preprocessor=PREPROCESSOR | dict(mean=[100.0], std=[50.0]),
    )
    (found,) = predicted(model, [pipeline(dict(img_path=str(tmp_path / "a.png")))])
    assert found.shape == (1, 9, 8)
    data = prepared(model, [pipeline(dict(img_path=str(tmp_path / "a.png")))])
    assert data["inputs"].shape == (1, 1, 9, 8) and (data["inputs"] == -1).all()


# Errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(train_cfg=dict(a=1)), "train_cfg has no settings and must be None"),
        (dict(test_cfg=dict(mode="whole")), "test_cfg has the setting level_sets alone"),
        (dict(input_size=(8, 9)), "input_size must be the network's size (8, 8) or None, but is"),
        (dict(input_size=8), "size must be a height and a width in pixels, but is 8"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make("dense", **changes)


def test_wrong_labels_are_named():
    model = make("conv")
    data = prepared(model, [item(np.full((6, 5), 2))])
    with pytest.raises(ValueError, match="must have labels 0, 1 and 255 .* has 2; mmlevelset.Bin"):
        model.loss(data["inputs"], data["data_samples"])
    del data["data_samples"][0].gt_sem_seg
    with pytest.raises(ValueError, match="data samples must have gt_sem_seg"):
        model.loss(data["inputs"], data["data_samples"])
    model = make("conv", data_preprocessor=PREPROCESSOR | dict(pad_seg=False))
    data = prepared(model, [item(mask) for mask in MASKS])
    with pytest.raises(ValueError, match=r"\(1, 12, 20\), but is \(1, 12, 10\); set pad_seg=True"):
        model.loss(data["inputs"], data["data_samples"])


@pytest.mark.parametrize("network", ["dense", "conv"])
def test_level_sets_of_all_steps_end_in_the_prediction(network):
    model = make(network, test_cfg=dict(level_sets=True)).eval()
    rng = np.random.default_rng(0)
    data = pseudo_collate([item(rng.random((8, 8)) > 0.5) for _ in range(2)])
    with torch.no_grad():
        samples = model.test_step(data)
        trajectory = model.network(model.data_preprocessor(data)["inputs"]).trajectory
    for number, sample in enumerate(samples):
        found = sample.level_sets.data
        assert found.shape == (3, 8, 8)
        background, foreground = model.network.classify(trajectory[:, number]).unbind(1)
        torch.testing.assert_close(found, foreground - background)
        assert torch.equal(found[-1] > 0, sample.pred_sem_seg.sem_seg[0] == 1)


def test_no_level_sets_where_the_network_has_none_or_nobody_asks():
    data = pseudo_collate([item(None, 8, 8)])
    for model in (make("f-connet", test_cfg=dict(level_sets=True)), make("conv")):
        assert "level_sets" not in model.eval().test_step(data)[0]


def test_standardised_images_do_not_depend_on_light_and_contrast():
    model = make("conv", standardise=True).eval()
    rng = np.random.default_rng(0)
    image = rng.integers(0, 100, (3, 9, 7)).astype(np.float32)
    samples = [item(None, 9, 7)["data_samples"] for _ in range(3)]
    changed = [image, 2 * image + 30, np.array([2, 1, 0.5])[:, None, None] * image + 7]
    batch = torch.stack([torch.from_numpy(np.float32(one)) for one in changed])
    with torch.no_grad():
        model.predict(batch, samples)
        logits = model(batch, mode="tensor")
    torch.testing.assert_close(logits[1:], logits[:1].expand(2, -1, -1, -1), rtol=0, atol=1e-4)
    assert all(
        torch.equal(s.pred_sem_seg.sem_seg, samples[0].pred_sem_seg.sem_seg) for s in samples
    )
    plain = make("conv").eval()
    with torch.no_grad():
        assert not torch.allclose(plain(batch, mode="tensor")[0], plain(batch, mode="tensor")[1])
