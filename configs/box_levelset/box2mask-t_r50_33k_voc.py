"""Box2Mask-T on Pascal VOC: 16 images a step, 50 epochs as on COCO. The schedule is ours."""

_base_ = [
    "../_base_/models/box2mask-t_r50.py",
    "../_base_/datasets/voc_boxes.py",
    "../_base_/schedules/iterations_368k_mask2former.py",
    "../_base_/iteration_runtime.py",
]
model = dict(
    panoptic_head=dict(num_things_classes=20, loss_cls=dict(class_weight=[1.0] * 20 + [0.1])),
    panoptic_fusion_head=dict(num_things_classes=20),
)
max_iters = 33000
train_cfg = dict(max_iters=max_iters, val_interval=5500)
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=False, milestones=[29300, 31800], gamma=0.1),
]
train_dataloader = dict(sampler=dict(type="InfiniteSampler", shuffle=True))
