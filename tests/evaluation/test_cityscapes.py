"""mmdet's CityScapesMetric, used in the Cityscapes configs, with our detectors' results."""

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CityscapesDataset
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample
from mmengine import Config
from mmengine.structures import InstanceData

pytest.importorskip("cityscapesscripts")

CAR, PERSON = 26, 24
CLASSES = CityscapesDataset.METAINFO["classes"]


def rectangle(x: int, y: int, width: int = 20, height: int = 20) -> np.ndarray:
    mask = np.zeros((64, 96), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def test_average_precision_by_hand(tmp_path, checkout):
    """Of two cars, one is predicted 2 pixels off: IoU 360/440 = 0.818, which counts at the seven
    thresholds from 0.50 to 0.80. The other car is missed. A car detection with a lower score is
    wrong. The person is found exactly.

    The benchmark's curve has a point for each score, and a last point of recall 0 and precision 1.
    Up to IoU 0.80 the points (recall, precision) of the cars are (1/2, 1/2), (1/2, 1) and (0, 1).
    The weight of a precision is half the difference of its neighbours' recalls (the first recall
    is repeated, 0 follows the last): 0, 1/4 and 1/4. So AP is 1/2. At higher thresholds it is
    0."""
    ids = np.zeros((64, 96), np.uint16)
    ids[rectangle(10, 10)] = CAR * 1000
    ids[rectangle(60, 10)] = CAR * 1000 + 1
    ids[rectangle(10, 40)] = PERSON * 1000
    truth = tmp_path / "gtFine" / "val" / "a_000000_000019_gtFine_instanceIds.png"
    truth.parent.mkdir(parents=True)
    cv2.imwrite(str(truth), ids)

    masks = np.stack([rectangle(12, 10), rectangle(70, 40, 12), rectangle(10, 40)])
    image = tmp_path / "leftImg8bit" / "val" / "a_000000_000019_leftImg8bit.png"
    sample = DetDataSample(metainfo=dict(img_path=str(image)))
    car, person = CLASSES.index("car"), CLASSES.index("person")
    sample.pred_instances = InstanceData(
        masks=torch.from_numpy(masks),
        initial_masks=torch.from_numpy(masks),
        labels=torch.tensor([car, car, person]),
        scores=torch.tensor([0.9, 0.5, 0.8]),
        bboxes=torch.zeros(3, 4),
    )
    config = Config.fromfile(checkout / "configs/_base_/datasets/cityscapes_instance.py")
    (settings,) = [item for item in config.val_evaluator if item.type == "CityScapesMetric"]
    # A second metric without predictions must not change the files of the first.
    metric, other = (METRICS.build({**settings, "seg_prefix": str(truth.parent)}) for _ in range(2))
    metric.dataset_meta = other.dataset_meta = dict(classes=CLASSES)
    metric.process({}, [sample.to_dict()])
    sample.pred_instances = sample.pred_instances[:0]
    other.process({}, [sample.to_dict()])
    values = metric.evaluate(1)
    assert values["cityscapes/mAP"] == pytest.approx((0.7 * 0.5 + 1) / 2)
    assert values["cityscapes/AP@50"] == pytest.approx((0.5 + 1) / 2)
