_base_ = [
    "../_base_/models/mask-rcnn_small.py",
    "../_base_/datasets/pennfudan_instance.py",
    "../_base_/schedules/scratch_small.py",
    "../_base_/default_runtime.py",
]
model = dict(
    rpn_head=dict(anchor_generator=dict(scales=[8])),
    roi_head=dict(
        bbox_roi_extractor=dict(finest_scale=56),
        bbox_head=dict(num_classes=1),
        mask_roi_extractor=dict(finest_scale=56),
        mask_head=dict(num_classes=1),
    ),
)
