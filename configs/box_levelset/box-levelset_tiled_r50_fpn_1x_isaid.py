"""BoxLevelSet tested on whole images of iSAID, in tiles like the patches that it is trained on.

Reads the official download in data/iSAID. Checkpoints are those of the config below, which is the
one to train.
"""

_base_ = [
    "./box-levelset_r50_fpn_1x_isaid.py",
    "../_base_/inference/original_size_pipeline.py",
]
model = dict(
    _delete_=True,
    type="mmlevelset.TiledDetector",
    module=_base_.model,
    tile_size=800,
    overlap=200,
    tile_scale=(600, 600),
    batch_size=4,
    cut="join",
    margin=4,
    join_thr=0.5,
    iou_thr=0.5,
    ios_thr=0.5,
    ios_of="cut",
    class_agnostic=False,
    max_per_img=None,
)
val_dataloader = dict(
    dataset=dict(
        data_root="data/iSAID/",
        ann_file="val/Annotations/iSAID_val.json",
        data_prefix=dict(img="val/images/images/"),
        pipeline=_base_.original_size_pipeline,
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file="data/iSAID/val/Annotations/iSAID_val.json")
test_evaluator = val_evaluator
