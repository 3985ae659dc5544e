"""Objects of any kind and their background as label maps, of 128 photographs of COCO.

96 photographs to train on, 32 to validate, 8 epochs; the backbone's first five stages are frozen.
About 3 minutes a run on one core.
"""

title = "Photographs, label maps: COCO's objects as one class, and background"
metrics = {"mIoU": "mIoU", "boundary F1, 1 px": "BF_1", "boundary F1, 2 px": "BF_2"}
seeds = (0, 1, 2)
config = "../photographs/fcn-32s_lite0_objects.py"
_weight = "model.decode_head.loss_decode.1.loss_weight"
_paper = {_weight: 4e-4}
_warm = {_weight: 4e-2, "model.decode_head.loss_decode.1.warmup_iters": 150}
_skips = {"model.decode_head.skips": 2}
variants = dict(
    fcn_32s=dict(label="FCN-32s"),
    fcn_32s_level_set=dict(label="FCN-32s, lambda 4e-4 (paper)", options=_paper),
    fcn_32s_warm=dict(label="FCN-32s, lambda 4e-2 with a warm-up", options=_warm),
    fcn_8s=dict(label="FCN-8s", options=_skips),
    fcn_8s_level_set=dict(label="FCN-8s, lambda 4e-4 (paper)", options={**_skips, **_paper}),
    fcn_8s_warm=dict(label="FCN-8s, lambda 4e-2 with a warm-up", options={**_skips, **_warm}),
)
