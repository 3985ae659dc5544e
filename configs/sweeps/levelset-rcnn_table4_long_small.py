"""Table 4 small with three times the epochs."""

_base_ = ["./levelset-rcnn_table4_small.py"]
title = "LevelSet R-CNN, Table 4, small, 24 epochs"
options = {
    "train_cfg.max_epochs": 24,
    "train_cfg.val_interval": 24,
    "param_scheduler.1.T_max": 24,
}
