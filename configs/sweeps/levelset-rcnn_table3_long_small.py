"""Table 3 small with three times the epochs, and Mask R-CNN for comparison.

Does the order of the rows stay when the training is longer?
"""

_base_ = ["./levelset-rcnn_table3_small.py"]
title = "LevelSet R-CNN, Table 3, small, 24 epochs"
options = {
    "train_cfg.max_epochs": 24,
    "train_cfg.val_interval": 24,
    "param_scheduler.1.T_max": 24,
}
variants = dict(
    mask_rcnn=dict(label="Mask R-CNN", config="../quickstart/mask-rcnn_shapes.py"),
)
