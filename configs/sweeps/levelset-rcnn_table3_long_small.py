"""Table 3 small with three times the epochs: 20 to 30 minutes a run on one core."""

_base_ = ["./levelset-rcnn_table3_small.py"]
title = "LevelSet R-CNN, Table 3, small, 24 epochs"
options = {
    "train_cfg.max_epochs": 24,
    "train_cfg.val_interval": 24,
    "param_scheduler.1.T_max": 24,
}
