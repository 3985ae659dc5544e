"""Three scales of Cityscapes, each as it is and flipped.

The paper tests at several scales and does not print them.
"""

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
                dict(type="Resize", scale=(2048, 1024), keep_ratio=True),
                dict(type="Resize", scale=(1536, 768), keep_ratio=True),
                dict(type="Resize", scale=(2560, 1280), keep_ratio=True),
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
                    ),
                )
            ],
        ],
    ),
]
