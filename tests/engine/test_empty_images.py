import json
from pathlib import Path

import numpy as np
from mmengine.runner import Runner


def test_mask_rcnn_trains_on_images_without_objects(tiny_config, tiny_images, tmp_path):
    document = json.loads((tiny_images / "annotations.json").read_text())
    document["annotations"] = []
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps(document))
    tiny_config.train_dataloader.dataset.merge(
        dict(ann_file=str(file), filter_cfg=dict(filter_empty_gt=False))
    )
    tiny_config.train_cfg.max_epochs = 1
    tiny_config.experiment_name = str(tmp_path)
    runner = Runner.from_cfg(tiny_config)
    runner.train()
    hub = runner.message_hub
    for name in ("loss", "loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask"):
        values = hub.get_scalar(f"train/{name}").data[0]
        assert len(values) == 3 and np.isfinite(values).all()
    assert hub.get_scalar("train/loss_mask").data[0].sum() == 0
    assert hub.get_scalar("train/loss_rpn_cls").data[0].min() > 0
    assert Path(runner.work_dir, "epoch_1.pth").exists()
