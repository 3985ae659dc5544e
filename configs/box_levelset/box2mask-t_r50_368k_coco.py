"""Box2Mask-T on COCO as its authors have it: 16 images a step, scales and crops of 1024 pixels."""

_base_ = [
    "../_base_/models/box2mask-t_r50.py",
    "../_base_/datasets/coco_boxes_1024.py",
    "../_base_/schedules/iterations_368k_mask2former.py",
    "../_base_/iteration_runtime.py",
]
crop = dict(type="BatchFixedSizePad", size=(1024, 1024), pad_mask=True, pad_seg=False)
model = dict(data_preprocessor=dict(batch_augments=[crop]))
del crop
