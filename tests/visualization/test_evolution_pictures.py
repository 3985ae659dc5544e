"""The trackers of mmengine, read back: curves, learned settings, pictures of evolutions."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmlevelset.models.levelset_rcnn import LevelSetRoIHead
from mmlevelset.visualization import EvolutionPictureHook
from mmlevelset.visualization.evolution_pictures import level_sets_asked

CONFIG = Path(__file__).parents[2] / "configs/quickstart/levelset-rcnn_shapes.py"
LEARNED = ("lambda1", "lambda2", "mu", "eps_1", "eps_3", "dt_1", "dt_3", "moved_1")
LOSSES = ("loss", "loss_cls", "loss_bbox")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Any:
    """The runner of a training of two steps with a validation, and its trackers."""
    config = Config.fromfile(CONFIG)
    backends = [dict(type="LocalVisBackend")]
    for name, module in (("Tensorboard", "tensorboard"), ("MLflow", "mlflow")):
        try:
            __import__(module)
        except ImportError:
            continue
        backends.append(dict(type=f"{name}VisBackend"))
    config.visualizer = dict(type="DetLocalVisualizer", name="trackers", vis_backends=backends)
    config.custom_hooks.append(dict(type="mmlevelset.EvolutionPictureHook", score_thr=0.0))
    config.work_dir = str(tmp_path_factory.mktemp("run"))
    config.log_level = "ERROR"
    config.model.roi_head.mask_head.mask_size = 28
    config.model.test_cfg.rcnn.score_thr = 0.0
    config.model.test_cfg.rcnn.max_per_img = 4
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.batch_size = 1
        loader.dataset.length = 2
    config.train_cfg.max_epochs = config.train_cfg.val_interval = 1
    config.default_hooks.logger.interval = 1
    config.default_hooks.checkpoint.interval = -1
    config.param_scheduler = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        runner = Runner.from_cfg(config)
        runner.train()
    yield runner
    init_default_scope("mmengine")


def folder(runner: Any) -> Path:
    return Path(runner.log_dir, "vis_data")


def is_strip(image: np.ndarray) -> bool:
    """Whether a picture has four panels of 256 pixels in a row: phi_0 to phi_3."""
    height, width = image.shape[:2]
    return image.shape[2] == 3 and width == 4 * 264 + 8 and 264 < height < 320


def test_pictures_lie_in_the_work_dir(trained):
    for number in range(2):
        assert is_strip(cv2.imread(str(folder(trained) / f"vis_image/evolution_{number}_1.png")))


def test_tensorboard(trained):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder(trained)))
    read.Reload()
    curves = read.Tags()["scalars"]
    assert {*LOSSES, *LEARNED, "coco/segm_mAP"} <= set(curves)
    for name in (*LOSSES, *LEARNED):
        assert [event.step for event in read.Scalars(name)] == [1, 2]
        assert np.isfinite([event.value for event in read.Scalars(name)]).all()
    assert set(read.Tags()["images"]) == {"evolution_0", "evolution_1"}
    (event,) = read.Images("evolution_0")
    picture = np.frombuffer(event.encoded_image_string, np.uint8)
    decoded = cv2.imdecode(picture, cv2.IMREAD_COLOR)
    assert event.step == 1 and is_strip(decoded)
    local = cv2.imread(str(folder(trained) / "vis_image/evolution_0_1.png"))
    np.testing.assert_array_equal(decoded, local)


def test_mlflow(trained):
    mlflow = pytest.importorskip("mlflow")
    store = next(path for path in trained.visualizer._vis_backends if "MLflow" in path)
    backend = trained.visualizer.get_backend(store)
    client = mlflow.MlflowClient(f"file://{Path(backend._save_dir).absolute()}")
    experiment = client.get_experiment_by_name("Default")
    (run,) = client.search_runs([experiment.experiment_id])
    assert {*LOSSES, *LEARNED, "coco/segm_mAP"} <= set(run.data.metrics)
    assert [one.step for one in client.get_metric_history(run.info.run_id, "mu")] == [1, 2]
    artifacts = [one.path for one in client.list_artifacts(run.info.run_id)]
    assert {"evolution_0_1.png", "evolution_1_1.png", "config.py"} <= set(artifacts)


def test_the_heads_are_as_before(trained):
    head = trained.model.roi_head
    assert isinstance(head, LevelSetRoIHead)
    before = dict(head.test_cfg)
    with pytest.raises(RuntimeError), level_sets_asked(trained.model):
        assert head.test_cfg.level_sets and head.test_cfg.initial_masks
        raise RuntimeError
    assert dict(head.test_cfg) == before and not head.test_cfg.level_sets


def found(**changes: Any) -> Any:
    from mmengine.structures import InstanceData

    masks = torch.zeros(3, 32, 40, dtype=torch.bool)
    masks[:, 4:20, 8:30] = True
    boxes = torch.tensor([[8.0, 4, 30, 20]]).expand(3, 4)
    given = dict(bboxes=boxes, scores=torch.tensor([0.2, 0.9, 0.5]), masks=masks)
    return InstanceData(**given | changes)


def test_kinds_of_models():
    image = np.zeros((32, 40, 3), np.uint8)
    hook = EvolutionPictureHook(size=32)
    assert hook._strip(image, None) is None  # a semantic model
    assert hook._strip(image, found()) is None  # masks alone
    with_initial = hook._strip(image, found(initial_masks=found().masks))
    levels = hook._strip(image, found(level_sets=torch.randn(3, 2, 8, 8)))
    refined = dict(level_sets=torch.randn(3, 2, 8, 8), refined_level_sets=torch.randn(3, 8, 8))
    widths = [with_initial.shape[1], levels.shape[1], hook._strip(image, found(**refined)).shape[1]]
    assert widths == [3 * 40 + 8, 2 * 40 + 8, 3 * 40 + 8]


@pytest.mark.parametrize(
    "wrong", [dict(images=0), dict(objects=1.5), dict(score_thr=2), dict(size=8)]
)
def test_wrong_arguments(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        EvolutionPictureHook(**wrong)
