"""Objects of any kind and their background as label maps, of 128 photographs of COCO.

96 photographs to train on, 32 to validate, 8 epochs; the backbone's first five stages are frozen.
About 3 minutes a run on one core.
"""

title = "Photographs, label maps: COCO's objects as one class, and background"
metrics = {"mIoU": "mIoU", "boundary F1, 1 px": "BF_1", "boundary F1, 2 px": "BF_2"}
seeds = (0, 1, 2)
config = "../photographs/fcn-32s_lite0_objects.py"
_level_set_loss = {"model.decode_head.loss_decode.1.loss_weight": 4e-4}
_skips = {"model.decode_head.skips": 2}
variants = dict(
    fcn_32s=dict(label="FCN-32s"),
    fcn_32s_level_set=dict(label="FCN-32s, level-set loss", options=_level_set_loss),
    fcn_8s=dict(label="FCN-8s", options=_skips),
    fcn_8s_level_set=dict(label="FCN-8s, level-set loss", options={**_skips, **_level_set_loss}),
)
