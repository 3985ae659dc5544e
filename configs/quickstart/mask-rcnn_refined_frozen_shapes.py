"""A trained Mask R-CNN with refined masks: the refinement alone learns.

``load_from`` is the checkpoint that mask-rcnn_shapes.py leaves in its default folder.
"""

_base_ = ["./mask-rcnn_refined_shapes.py"]
max_epochs = 3
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=True, T_max=max_epochs, convert_to_iter_based=True),
]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type="mmlevelset.FreezeHook", trained=("refinement",)),
]
find_unused_parameters = True
load_from = "work_dirs/mask-rcnn_shapes/epoch_8.pth"
partial_load = True  # the refinement is new
