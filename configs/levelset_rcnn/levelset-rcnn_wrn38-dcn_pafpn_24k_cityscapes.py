"""The large LevelSet R-CNN on Cityscapes: WideResNet-38, deformable convolutions, PANet."""

_base_ = [
    "../_base_/models/levelset-rcnn_wrn38-dcn_pafpn.py",
    "../_base_/datasets/cityscapes_instance.py",
    "../_base_/schedules/iterations_24k.py",
    "../_base_/iteration_runtime.py",
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=8), mask_head=dict(num_classes=8)))
