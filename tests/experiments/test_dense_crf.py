import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from mmlevelset.errors import InputError
from mmlevelset.experiments.dense_crf import main, mean_field

ROOT = Path(__file__).parents[2]
CONFIG = f"""
_base_ = ["{ROOT}/configs/_base_/datasets/shapes_semantic.py"]
default_scope = "mmdet"
model = dict(
    type="mmlevelset.SemanticSegmentor",
    data_preprocessor=dict(
        type="DetDataPreprocessor", mean=[110] * 3, std=[60] * 3, pad_seg=True, seg_pad_value=255
    ),
    backbone=dict(type="ResNet", depth=18, base_channels=4, stem_channels=4, norm_eval=True),
    decode_head=dict(
        type="mmlevelset.FCNHead",
        num_classes=5,
        in_channels=[4, 8, 16, 32],
        loss_decode=[dict(type="CrossEntropyLoss")],
    ),
)
test_dataloader = dict(
    dataset=dict(
        length=3,
        image_size=(64, 48),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(96, 96), keep_ratio=True),
            dict(type="mmlevelset.LoadSemanticAnnotations"),
            dict(type="PackDetInputs", meta_keys=("img_path", "ori_shape", "img_shape")),
        ],
    )
)
"""
KERNELS = dict(
    bilateral_weight=4.0,
    bilateral_xy=67.0,
    bilateral_rgb=3.0,
    gaussian_weight=3.0,
    gaussian_xy=1.0,
)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Compare a network with random weights."""
    for name in ("CUDA_VISIBLE_DEVICES", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    config, checkpoint = tmp_path / "tiny.py", tmp_path / "tiny.pth"
    config.write_text(CONFIG)
    init_default_scope("mmdet")
    torch.manual_seed(0)
    torch.save(
        dict(state_dict=MODELS.build(Config.fromfile(config).model).state_dict()), checkpoint
    )

    def run(*more: str, checkpoint: Path = checkpoint) -> None:
        words = [config, checkpoint, "--device=cpu", f"--work-dir={tmp_path}", *more]
        main([*map(str, words)])

    logger = MMLogger.get_current_instance()
    level = logger.level
    yield run
    logger.setLevel(level)


@pytest.fixture
def without_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--iterations", "5", "0"], "--iterations must be at least 1, and was [5, 0]"),
        (["--images", "0"], "--images must be at least 1, and was 0"),
        (["--bilateral-rgb", "0"], "--bilateral-rgb must be above 0, and was 0.0"),
        (["--gaussian-weight", "-1"], "--gaussian-weight must be at least 0, and was -1.0"),
        (["--gaussian-xy", "nan"], "--gaussian-xy must be above 0, and was nan"),
        (["--cfg-options", "model.nonsense=1"], "model has no 'nonsense'"),
    ],
)
def test_errors_name_the_option(run, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_missing_checkpoint_is_one_line(run, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        run(checkpoint=tmp_path / "none.pth")
    assert ended.value.code == 2
    assert f"the checkpoint {tmp_path / 'none.pth'} does not exist" in capsys.readouterr().err


def test_a_missing_library_is_one_line_with_the_remedy(run, capsys, without_library):
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "pip install pydensecrf2" in line
    assert "mmlevelset[crf]" in line


class TestFilter:
    @pytest.fixture(autouse=True)
    def _library(self):
        pytest.importorskip("pydensecrf.densecrf")

    def test_noisy_scores_on_two_colours_follow_them(self):
        image, truth, logits = make_two_colours(40, 56)
        right = [float((logits.argmax(0).numpy() == truth).mean())]
        seconds = [0.0]
        for _, labels, spent in mean_field(image, logits, [1, 2, 5, 10], KERNELS):
            right.append(float((labels == truth).mean()))
            seconds.append(spent)
        assert right[0] < 0.8 < 0.99 < right[-1]
        assert right == sorted(right)
        assert seconds == sorted(seconds)

    @pytest.mark.parametrize(
        "changes", [{}, dict(bilateral_weight=0.0), dict(gaussian_xy=3.0, bilateral_rgb=10.0)]
    )
    def test_the_labels_are_those_of_all_pairs(self, changes):
        image, _, logits = make_two_colours(21, 33)
        kernels = KERNELS | changes
        for step, labels, _ in mean_field(image, logits, [1, 10], kernels):
            expected = all_pairs(image, logits.double().numpy(), step, kernels)
            assert (labels == expected).mean() > 0.97  # the library's lattice is an approximation
            assert (logits.argmax(0).numpy() == expected).mean() < 0.9

    def test_a_constant_image_leaves_clear_regions(self):
        truth = np.zeros((30, 40), np.int64)
        truth[:, 20:] = 2
        logits = 40 * torch.nn.functional.one_hot(torch.from_numpy(truth), 3).permute(2, 0, 1)
        image = np.full((30, 40, 3), 90, np.uint8)
        ((_, labels, _),) = mean_field(image, logits, [10], KERNELS)
        np.testing.assert_array_equal(labels, truth)

    def test_without_weights_it_is_the_network(self):
        image, _, logits = make_two_colours(20, 30)
        kernels = KERNELS | dict(bilateral_weight=0.0, gaussian_weight=0.0)
        ((_, labels, _),) = mean_field(image, logits, [3], kernels)
        np.testing.assert_array_equal(labels, logits.argmax(0).numpy())

    def test_an_image_of_16_bits_is_refused(self):
        image, _, logits = make_two_colours(20, 30)
        with pytest.raises(InputError, match="8 bits and three channels.*uint16"):
            list(mean_field(image.astype(np.uint16), logits, [1], KERNELS))

    def test_the_table_of_a_network(self, run, capsys):
        run("--iterations", "4", "1", "--cfg-options", "test_dataloader.dataset.length=2")
        out = capsys.readouterr().out
        assert (
            "\n2 images, network on a CPU, CRF on one CPU core: bilateral weight 4, " in f"\n{out}"
        )
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines()]
        rows = [row for row in rows if row]
        assert [row[0] for row in rows[2:]] == ["network", "CRF, 1 iteration", "CRF, 4 iterations"]
        values = np.array([[float(cell.strip("x")) for cell in row[1:]] for row in rows[2:]])
        assert ((values[:, :3] >= 0) & (values[:, :3] <= 100)).all()
        assert values[0, 4] == 0 < values[1, 4] < values[2, 4]
        assert values[0, 5] == 1

    def test_mean_iou_and_boundaries_rise_for_noisy_scores(self, run, capsys, monkeypatch):
        """The network is the truth with noise; the images have no noise and differ in colour."""
        monkeypatch.setattr("mmlevelset.models.SemanticSegmentor.predict_logits", noisy_truth)
        clean = [f"test_dataloader.dataset.{name}=0" for name in ("noise", "light")]
        run("--iterations", "5", "--bilateral-xy", "20", "--cfg-options", *clean)
        lines = capsys.readouterr().out.strip().splitlines()[-2:]
        network, crf = (np.array(line.split("|")[2:5], float) for line in lines)
        assert (crf > network + 10).all()

    def test_a_data_set_without_label_maps(self, run, capsys):
        with pytest.raises(SystemExit) as ended:
            run("--cfg-options", "test_dataloader.dataset.pipeline.2.type=mmlevelset.LoadImage")
        assert ended.value.code == 2
        assert "test_dataloader.dataset.pipeline loads no label maps" in capsys.readouterr().err

    def test_the_first_images_of_the_validation_set(self, run, capsys, monkeypatch):
        monkeypatch.setattr("mmlevelset.models.SemanticSegmentor.predict_logits", noisy_truth)
        run("--dataset=val", "--images=1", "--iterations=1")
        assert "1 image, network" in capsys.readouterr().out

    def test_a_model_that_gives_no_logits(self, run, capsys, monkeypatch):
        monkeypatch.delattr("mmlevelset.models.SemanticSegmentor.predict_logits")
        with pytest.raises(SystemExit) as ended:
            run()
        assert ended.value.code == 2
        assert "model.type must be mmlevelset.SemanticSegmentor" in capsys.readouterr().err


def noisy_truth(_, batch_inputs, batch_data_samples):
    generator = torch.Generator().manual_seed(0)
    (sample,) = batch_data_samples
    labels = sample.gt_sem_seg.sem_seg[0].long()
    clear = torch.nn.functional.one_hot(labels, 5).permute(2, 0, 1)
    return [clear + torch.randn(clear.shape, generator=generator)]


def make_two_colours(height, width):
    """An image with two halves, their labels 0 and 2 of three, and noisy scores for them."""
    truth = np.zeros((height, width), np.int64)
    truth[:, width // 2 :] = 2
    rng = np.random.default_rng(0)
    image = np.where(truth[:, :, None] == 2, (200, 80, 20), (20, 30, 160))
    image = (image + rng.integers(0, 4, image.shape)).astype(np.uint8)
    scores = rng.normal(0, 1.5, (3, height, width))
    scores += 2 * (np.arange(3)[:, None, None] == truth)
    return image, truth, torch.from_numpy(scores).float()


def all_pairs(image, logits, iterations, kernels):
    """Mean field with the kernels written out as matrices over all pairs of pixels, float64."""
    height, width = image.shape[:2]
    place = np.stack(np.mgrid[:height, :width], -1).reshape(-1, 2).astype(float)
    colour = image.reshape(-1, 3).astype(float)
    total = 0
    for weight, *parts in (
        (kernels["gaussian_weight"], place / kernels["gaussian_xy"]),
        (
            kernels["bilateral_weight"],
            place / kernels["bilateral_xy"],
            colour / kernels["bilateral_rgb"],
        ),
    ):
        features = np.concatenate(parts, 1)
        kernel = np.exp(-((features[:, None] - features[None]) ** 2).sum(-1) / 2)
        root = np.sqrt(kernel.sum(1))
        total = total + weight * kernel / root[:, None] / root
    scores = logits.reshape(len(logits), -1)
    beliefs = softmax(scores)
    for _ in range(iterations):
        beliefs = softmax(scores + beliefs @ total)
    return beliefs.argmax(0).reshape(height, width)


def softmax(scores):
    weights = np.exp(scores - scores.max(0))
    return weights / weights.sum(0)
