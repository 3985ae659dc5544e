"""Objects of 128 images of COCO as one class: Mask R-CNN and level sets on EfficientNet-Lite0.

96 photographs to train on, 32 to validate, 12 epochs.
"""

_base_ = ["./photographs_instances.py"]
title = "Photographs, full masks: COCO's objects as one class"
variants = dict(
    mask_rcnn=dict(config="../photographs/mask-rcnn_lite0_objects.py"),
    mask_rcnn_refined=dict(config="../photographs/mask-rcnn_refined_lite0_objects.py"),
    levelset_rcnn=dict(config="../photographs/levelset-rcnn_lite0_objects.py"),
    levelset_rcnn_image=dict(
        config="../photographs/levelset-rcnn_lite0_objects.py",
        options={"model.roi_head.mask_head.image_features": True},
    ),
    levelset_rcnn_refined=dict(config="../photographs/levelset-rcnn_refined_lite0_objects.py"),
)
