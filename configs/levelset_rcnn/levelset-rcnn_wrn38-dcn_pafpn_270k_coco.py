"""The large LevelSet R-CNN on COCO, for the paper's Table 1: 16 GPUs with one image each."""

_base_ = [
    "../_base_/models/levelset-rcnn_wrn38-dcn_pafpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/iterations_270k.py",
    "../_base_/iteration_runtime.py",
]
model = dict(roi_head=dict(mask_head=dict(initial_weight=0.2, final_weight=1.0)))
train_dataloader = dict(batch_size=1, sampler=dict(type="InfiniteSampler", shuffle=True))
