"""Two scales of generated shapes, each as it is and flipped."""

_base_ = ["./multi-scale_flip_cityscapes.py"]
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [
    dict(type="Resize", scale=scale, keep_ratio=True) for scale in ((128, 128), (192, 192))
]
tta_pipeline[1].transforms[3][0].meta_keys += ("instances",)
