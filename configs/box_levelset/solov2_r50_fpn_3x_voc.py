"""The same network trained by full masks: what the boxes are compared with."""

_base_ = ["./box-levelset_r50_fpn_3x_voc.py"]
model = dict(mask_head=dict(supervision="mask"), test_cfg=dict(mask_thr=0.5))
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="RandomChoiceResize",
        scales=[(1333, 640), (1333, 672), (1333, 704), (1333, 736), (1333, 768), (1333, 800)],
        keep_ratio=True,
    ),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, masks="required"))
