import pytest
import torch
import torch.nn.functional as F
from mmdet.evaluation import SemSegMetric
from mmengine.optim import OptimWrapper

from mmlevelset.models.levelset_loss.inference import Inference
from tests.models.levelset_loss.builders import (
    CLASSES,
    HEADS,
    make_identity,
    make_images,
    make_labels,
    make_samples,
    make_segmentor,
)

LOSSES = [
    dict(type="mmdet.CrossEntropyLoss", avg_non_ignore=True),
    dict(type="mmlevelset.LevelSetLoss"),
]
SCALES = dict(scales=(0.5, 0.75, 1.0), supervise_scales=True)


def slide(*crop_size: int, stride: tuple[int, int]) -> dict:
    return dict(mode="slide", crop_size=crop_size, stride=stride)


def class_maps(*size: int, seed: int = 0, block: int = 1) -> torch.Tensor:
    """Random labels (2, H, W) of three classes in square blocks."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(3, (2, *(-(-side // block) for side in size)), generator=generator)
    fine = coarse.repeat_interleave(block, 1).repeat_interleave(block, 2)
    return fine[:, : size[0], : size[1]]


def as_images(labels: torch.Tensor) -> torch.Tensor:
    """Images with a channel for each class: 1 where the label is the class, 0 elsewhere."""
    return F.one_hot(labels, 3).permute(0, 3, 1, 2).float()


def predict(model, images, **shapes) -> list[torch.Tensor]:
    samples = make_samples(images=len(images), **({"img_shape": images.shape[2:]} | shapes))
    return [sample.pred_sem_seg.sem_seg for sample in model.predict(images, samples)]


# Inference


@pytest.mark.parametrize(
    "test_cfg",
    [
        None,
        slide(7, 5, stride=(4, 5)),
        slide(13, 1, stride=(1, 1)),
        slide(64, 9, stride=(64, 3)),
        slide(20, 30, stride=(9, 9)),
    ],
)
def test_every_pixel_is_predicted_in_its_place(test_cfg):
    labels = class_maps(13, 22)
    predicted = predict(make_identity(test_cfg=test_cfg), as_images(labels))
    assert torch.equal(torch.cat(predicted), labels)


def test_windows_cover_the_image_and_end_at_its_border():
    model = make_identity(test_cfg=slide(8, 10, stride=(5, 10)))
    predict(model, as_images(class_maps(13, 22)))
    assert model.backbone.calls == [(8, 10)] * (2 * 3)
    seen = []
    Inference("slide", (8, 10), (5, 10)).run(
        lambda images: seen.append(images[0, :, 0, 0].tolist()) or images,
        torch.stack(torch.meshgrid(torch.arange(13.0), torch.arange(22.0), indexing="ij"))[None],
    )
    assert seen == [[row, column] for row in (0, 5) for column in (0, 10, 12)]


def test_overlapping_windows_are_averaged():
    images = torch.arange(10.0).expand(1, 1, 2, 10)
    means = Inference("slide", (2, 6), (2, 4)).run(
        lambda crop: crop.mean((2, 3), keepdim=True).expand_as(crop), images
    )
    assert means[0, 0, 0].tolist() == [2.5] * 4 + [4.5] * 2 + [6.5] * 4


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_coarse_logits_are_upsampled_in_place(stride):
    labels = class_maps(64, 96, block=16)
    model = make_identity(stride=stride)
    predicted = torch.cat(predict(model, as_images(labels)))
    inner = torch.zeros(16, dtype=torch.bool)
    inner[stride:-stride] = stride < 8
    inner[7:9] = True
    inside = inner.repeat(4)[:, None] & inner.repeat(6)
    assert torch.equal(predicted[:, inside], labels[:, inside])


def test_predictions_have_the_size_of_the_original_images():
    labels = class_maps(12, 20, block=4)
    predicted = predict(make_identity(), as_images(labels), ori_shape=(36, 60))
    large = labels.repeat_interleave(3, 1).repeat_interleave(3, 2)
    assert [tuple(map_.shape) for map_ in predicted] == [(1, 36, 60)] * 2
    assert {map_.dtype for map_ in predicted} == {torch.int64}
    distance = torch.arange(12).sub(5.5).abs() < 4.5  # away from the blocks' edges
    inside = distance.repeat(3)[:, None] & distance.repeat(5)
    assert torch.equal(torch.cat(predicted)[:, inside], large[:, inside])
    assert predict(make_identity(), as_images(labels), ori_shape=(7, 11))[0].shape == (1, 7, 11)


@pytest.mark.parametrize("test_cfg", [None, slide(8, 8, stride=(5, 5))])
def test_images_of_a_batch_may_differ_in_size(test_cfg):
    model = make_identity(test_cfg=test_cfg)
    sizes = [(13, 22), (17, 9), (5, 5)]
    maps = [class_maps(*size, seed=seed)[:1] for seed, size in enumerate(sizes)]
    samples = [make_samples(images=1, img_shape=size)[0] for size in sizes]
    data = dict(inputs=[as_images(labels)[0] for labels in maps], data_samples=samples)
    for sample, labels in zip(model.test_step(data), maps, strict=True):
        assert torch.equal(sample.pred_sem_seg.sem_seg, labels)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("size", [(41, 49), (33, 64), (9, 7)])
@pytest.mark.parametrize("multi_scale", [None, SCALES])
def test_odd_sizes(name, size, multi_scale):
    model = make_segmentor(name, multi_scale=multi_scale).eval()
    images = make_images(size=size)
    coarsest = HEADS[name][0] * (4 if multi_scale else 1)
    stride = {"fcn-32s": 32}.get(name, 8)
    expected = tuple(-(-(side - 1) // coarsest) * coarsest // stride + 1 for side in size)
    with torch.no_grad():
        assert model(images).shape == (2, CLASSES, *expected)
        predicted = predict(model, images, img_shape=(size[0] - 2, size[1]), ori_shape=(30, 21))
    assert [tuple(labels.shape) for labels in predicted] == [(1, 30, 21)] * 2


def test_mmdets_metric_reads_the_predictions():
    labels = class_maps(13, 22)
    truth = labels.clone()
    truth[:, :4] = 255
    truth[0, 5] = (truth[0, 5] + 1) % 3
    samples = make_samples(truth)
    make_identity().predict(as_images(labels), samples)
    metric = SemSegMetric()
    metric.dataset_meta = dict(classes=("a", "b", "c"))
    metric.process({}, [sample.to_dict() for sample in samples])
    overlaps = []
    for number in range(3):
        predicted, true = (maps[truth != 255] == number for maps in (labels, truth))
        overlaps.append((predicted & true).sum() / (predicted | true).sum())
    assert metric.evaluate(2)["mIoU"] == pytest.approx(100 * sum(overlaps).item() / 3, abs=0.006)
    assert 85 < 100 * sum(overlaps) / 3 < 95


# Multi-scale inputs


def test_multi_scale_result_is_the_maximum_at_scale_one():
    images = torch.rand(2, 3, 12, 20, generator=torch.Generator().manual_seed(0))
    model = make_identity(multi_scale=SCALES)
    half, three_quarters = (
        F.interpolate(
            F.interpolate(images, size=size, mode="bilinear"), size=(12, 20), mode="bilinear"
        )
        for size in ((6, 10), (9, 15))
    )
    expected = torch.stack([half, three_quarters, images]).amax(0)
    torch.testing.assert_close(model(images), expected)
    assert model.backbone.calls == [(12, 20), (6, 10), (9, 15)]
    assert not torch.allclose(expected, images)


def test_each_scale_is_trained_on_the_labels():
    labels = class_maps(12, 20)
    images = as_images(labels) + 0.1
    model = make_identity(multi_scale=SCALES, head=dict(monitor=LOSSES[:1]))
    losses = model.loss(images, make_samples(labels))
    assert list(losses) == [
        "loss_ce",
        "energy_ce",
        "scale_0.5.loss_ce",
        "scale_0.75.loss_ce",
        "scale_1.loss_ce",
    ]
    torch.testing.assert_close(losses["scale_1.loss_ce"], F.cross_entropy(images, labels))
    half = F.interpolate(images, size=(6, 10), mode="bilinear")
    upsampled = F.interpolate(half, size=(12, 20), mode="bilinear")
    torch.testing.assert_close(losses["scale_0.5.loss_ce"], F.cross_entropy(upsampled, labels))
    total = sum(value for name, value in losses.items() if "loss" in name)
    assert model.parse_losses(losses)[0] == total


def test_scales_need_not_be_trained_each():
    model = make_segmentor(multi_scale=dict(SCALES, supervise_scales=False))
    losses = model.loss(make_images(), make_samples(make_labels()))
    assert losses.keys() == {"loss_ce"}


def test_one_scale_is_as_none():
    images, samples = make_images(), make_samples(make_labels())
    single, none = (
        make_segmentor(multi_scale=scales).loss(images, samples)
        for scales in (dict(scales=(1.0,), supervise_scales=True), None)
    )
    assert single == none


def test_scales_train_at_the_size_of_their_own_logits():
    labels = class_maps(12, 20)
    images = as_images(labels)
    model = make_identity(multi_scale=SCALES, head=dict(loss_size="logits"))
    half = F.interpolate(images, size=(6, 10), mode="bilinear")
    torch.testing.assert_close(
        model.loss(images, make_samples(labels))["scale_0.5.loss_ce"],
        F.cross_entropy(half, labels[:, 1::2, 1::2]),
    )


# Training


def make_data(images: int = 2) -> dict:
    """A data loader's batch of images of different sizes."""
    sizes = [(41, 49), (36, 52)][:images]
    samples = [make_samples(make_labels(1, size))[0] for size in sizes]
    return dict(inputs=[make_images(1, size)[0] for size in sizes], data_samples=samples)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("multi_scale", [None, SCALES])
@pytest.mark.parametrize("name", HEADS)
def test_losses_reach_every_parameter(name, multi_scale, precision):
    model = make_segmentor(
        name,
        head=dict(loss_decode=LOSSES, monitor=LOSSES),
        multi_scale=multi_scale,
        auxiliary_head=dict(
            type="mmlevelset.FCNHead",
            num_classes=CLASSES,
            in_channels=8 if name == "largefov" else 16,
            in_index=2,
            align_corners=True,
        ),
    ).train()
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        data = model.data_preprocessor(make_data(), True)
        losses = model(**data, mode="loss")
    loss, logged = model.parse_losses(losses)
    loss.backward()
    assert {"loss_ce", "loss_level_set", "energy_level_set", "aux.loss_ce"} <= set(logged)
    assert all(value.dtype == torch.float32 and value.isfinite() for value in logged.values())
    for parameter, value in model.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all(), parameter


@pytest.mark.parametrize("name", HEADS)
def test_a_few_steps_lower_the_loss(name):
    model = make_segmentor(name, head=dict(loss_decode=LOSSES, dropout_ratio=0.0)).train()
    wrapper = OptimWrapper(torch.optim.Adam(model.parameters(), lr=3e-3))
    losses = [model.train_step(make_data(), wrapper)["loss"].item() for _ in range(12)]
    assert losses[-1] < losses[0] - 0.05


def test_monitoring_does_not_change_the_training():
    gradients = []
    for monitor in ([], LOSSES):
        model = make_segmentor(head=dict(monitor=monitor, dropout_ratio=0.0))
        loss, logged = model.parse_losses(model.loss(make_images(), make_samples(make_labels())))
        loss.backward()
        assert logged["loss"] == logged["loss_ce"]
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(map(torch.equal, *gradients))


@pytest.mark.parametrize("loss_size", ["full", "logits"])
def test_a_batch_without_labels_trains_nothing(loss_size):
    model = make_segmentor(head=dict(loss_decode=LOSSES, loss_size=loss_size), multi_scale=SCALES)
    nothing = torch.full((2, 41, 49), 255, dtype=torch.uint8)
    loss, values = model.parse_losses(model.loss(make_images(), make_samples(nothing)))
    loss.backward()
    assert loss == 0 and all(value == 0 for value in values.values())
    assert not any(parameter.grad.any() for parameter in model.parameters())


def test_padding_has_no_label():
    model = make_identity()
    labels = class_maps(13, 22)
    small, large = labels[:1, :9, :15], labels[1:]
    data = model.data_preprocessor(
        dict(
            inputs=[as_images(small)[0], as_images(large)[0]],
            data_samples=[*make_samples(small), *make_samples(large)],
        )
    )
    with pytest.raises(ValueError, match=r"\(1, 13, 22\), but is \(1, 9, 15\); set pad_seg=True"):
        model.loss(**{f"batch_{name}": value for name, value in data.items()})
    model.data_preprocessor.pad_seg = True
    loss = model.parse_losses(model(**model.data_preprocessor(data, True), mode="loss"))[0]
    pixels = torch.cat([as_images(small).flatten(2), as_images(large).flatten(2)], 2)
    expected = F.cross_entropy(pixels, torch.cat([small.flatten(), large.flatten()])[None])
    torch.testing.assert_close(loss, expected)


def test_a_neck_lies_between_backbone_and_head():
    fpn = dict(type="mmdet.FPN", in_channels=[2, 4, 8, 16, 16], out_channels=6, num_outs=5)
    model = make_segmentor(neck=fpn, stride=2, head=dict(in_channels=6, in_index=0))
    assert [stage.shape[1] for stage in model.extract_feat(make_images())] == [6] * 5
    assert model(make_images()).shape == (2, CLASSES, 21, 25)


@pytest.mark.parametrize("name", HEADS)
def test_state_dict_round_trip(name, tmp_path):
    model, other = make_segmentor(name, seed=0).eval(), make_segmentor(name, seed=1).eval()
    torch.save(model.state_dict(), tmp_path / "model.pth")
    other.load_state_dict(torch.load(tmp_path / "model.pth"))
    assert torch.equal(other(make_images()), model(make_images()))


# Errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(test_cfg=dict(mode="crop")), "test_cfg.mode must be .* but is 'crop'"),
        (dict(test_cfg=dict(mode="slide")), "test_cfg.crop_size must be .* but is None"),
        (
            dict(test_cfg=dict(mode="slide", crop_size=(8, 8), stride=4)),
            "test_cfg.stride must be a height and a width in pixels, but is 4",
        ),
        (
            dict(test_cfg=slide(8, 8, stride=(8, 9))),
            r"test_cfg.stride must be at most crop_size \(8, 8\) .*, but is \(8, 9\)",
        ),
        (
            dict(multi_scale=dict(scales=(0.5, 2.0))),
            r"multi_scale.scales must be .* that include 1, but is \(0.5, 2.0\)",
        ),
        (
            dict(multi_scale=dict(scales=(0.33, 1.0))),
            r"scales must be fractions .* of at most 20, .*, but is \(0.33, 1.0\)",
        ),
        (dict(stride=0), "stride must be a whole number of at least 1, but is 0"),
        (
            dict(
                auxiliary_head=dict(
                    type="mmlevelset.FCNHead", num_classes=3, in_channels=3, align_corners=True
                )
            ),
            "auxiliary_head.align_corners must be decode_head's, False, but is True",
        ),
        (dict(train_cfg=dict(a=1)), "train_cfg has no settings and must be None"),
    ],
)
def test_wrong_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        make_identity(**changes)


def test_missing_labels_are_named():
    with pytest.raises(
        ValueError, match=r"data samples must have gt_sem_seg: .*LoadSemanticAnnotations"
    ):
        make_segmentor().loss(make_images(), make_samples())


@pytest.mark.parametrize("wrong", [CLASSES, 254])
def test_labels_out_of_range_are_named(wrong):
    labels = make_labels()
    labels[1, 3, 5] = wrong
    with pytest.raises(ValueError, match=f"from 0 to 3, for num_classes 4, .* has {wrong}"):
        make_segmentor().loss(make_images(), make_samples(labels))
