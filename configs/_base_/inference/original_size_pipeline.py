"""A test pipeline that leaves images as they are, for ``mmlevelset.TiledDetector``.

True masks stay in their annotations: a large image has no room for a bitmap of each.
"""

original_size_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=False),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "instances"),
    ),
]
