"""levelset-rcnn_shapes.py with test-time augmentation: tools/test.py CONFIG CHECKPOINT --tta."""

_base_ = ["./levelset-rcnn_shapes.py", "../_base_/tta/multi-scale_flip_shapes.py"]
tta_model = dict(average="none")
