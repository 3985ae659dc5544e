"""BoxLevelSet on Pascal VOC as in the paper, Table 1: 8 images a step, several scales."""

_base_ = [
    "../_base_/models/box-levelset_r50_fpn.py",
    "../_base_/datasets/voc_boxes.py",
    "../_base_/schedules/adamw_3x_voc.py",
    "../_base_/default_runtime.py",
]
model = dict(mask_head=dict(num_classes=20))
