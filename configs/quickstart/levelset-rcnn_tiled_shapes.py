"""levelset-rcnn_shapes.py, tested on larger images in tiles of the size of the training images."""

_base_ = ["./levelset-rcnn_shapes.py", "../_base_/inference/original_size_pipeline.py"]
model = dict(
    _delete_=True,
    type="mmlevelset.TiledDetector",
    module=_base_.model,
    tile_size=128,
    overlap=64,
    tile_scale=None,
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
        image_size=(512, 512),
        num_objects=(20, 40),
        length=20,
        pipeline=_base_.original_size_pipeline,
    )
)
test_dataloader = val_dataloader
