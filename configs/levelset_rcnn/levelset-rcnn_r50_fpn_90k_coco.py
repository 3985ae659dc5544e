"""LevelSet R-CNN on COCO as in the paper, Table 2: 8 GPUs with 2 images each.

The paper trains on 16 GPUs for 90,000 iterations at a learning rate of 0.02. We read its
"mini-batch size of 8" as Cityscapes' (8 GPUs with one image each). With 16 images a step, the
schedule for COCO is Mask R-CNN's 1x, which the paper follows.
"""

_base_ = [
    "../_base_/models/levelset-rcnn_r50_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/iterations_90k.py",
    "../_base_/iteration_runtime.py",
]
model = dict(roi_head=dict(mask_head=dict(initial_weight=0.2, final_weight=1.0)))
train_dataloader = dict(sampler=dict(type="InfiniteSampler", shuffle=True))
