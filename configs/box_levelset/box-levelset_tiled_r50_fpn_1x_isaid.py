"""BoxLevelSet tested on whole images of iSAID, in tiles of the size of the training's patches.

The images are the download's, in data/iSAID; the annotations are the converter's, in data/isaid.
The config to train is box-levelset_r50_fpn_1x_isaid.py, and its checkpoints fit here. An image
holds thousands of objects, so the evaluation counts more than COCO's 100 of a class.
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
        data_root="data/",
        ann_file="isaid/annotations/images_val.json",
        data_prefix=dict(img="iSAID/val/images/images/"),
        pipeline=_base_.original_size_pipeline,
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file="data/isaid/annotations/images_val.json", max_dets=5000)
test_evaluator = val_evaluator
