"""LevelSet R-CNN on Cityscapes, tested at several scales and flipped (paper, Table 1: MS+F).

``tools/test.py CONFIG CHECKPOINT --tta`` tests so. Without ``--tta``, and in training, this config
is levelset-rcnn_r50_fpn_24k_cityscapes.py.
"""

_base_ = [
    "./levelset-rcnn_r50_fpn_24k_cityscapes.py",
    "../_base_/tta/multi-scale_flip_cityscapes.py",
]
tta_model = dict(average="none")
