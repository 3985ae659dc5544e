"""Two scales of generated shapes, each as it is and flipped."""

tta_model = dict(
    type="mmlevelset.MaskTTAModel",
    masks="auto",
    average="sigmoid",
    iou_thr=0.5,
    boxes="weighted",
    scores="mean",
    max_per_img=100,
)
tta_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale=(128, 128), keep_ratio=True),
                dict(type="Resize", scale=(192, 192), keep_ratio=True),
            ],
            [dict(type="LoadAnnotations", with_bbox=True, with_mask=True)],
            [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)],
            [
                dict(
                    type="PackDetInputs",
                    meta_keys=(
                        "img_id",
                        "img_path",
                        "ori_shape",
                        "img_shape",
                        "scale_factor",
                        "flip",
                        "flip_direction",
                        "instances",
                    ),
                )
            ],
        ],
    ),
]
