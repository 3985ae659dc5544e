"""Penn-Fudan as label maps: FCN and LargeFOV on a pretrained EfficientNet-Lite0, with and without
the level-set loss.

110 photographs to train on, 20 to validate, 8 epochs; the backbone's first five stages are frozen.
About 3 minutes a run of FCN on one core, 8 of LargeFOV.
"""

title = "Photographs, label maps: Penn-Fudan's pedestrians and background"
metrics = {"mIoU": "mIoU", "boundary F1, 1 px": "BF_1", "boundary F1, 2 px": "BF_2"}
seeds = (0, 1, 2)
config = "../photographs/fcn-32s_lite0_pennfudan.py"
_level_set_loss = {"model.decode_head.loss_decode.1.loss_weight": 4e-4}
_skips = {"model.decode_head.skips": 2}
variants = dict(
    fcn_32s=dict(label="FCN-32s"),
    fcn_32s_level_set=dict(label="FCN-32s, level-set loss", options=_level_set_loss),
    fcn_8s=dict(label="FCN-8s", options=_skips),
    fcn_8s_level_set=dict(label="FCN-8s, level-set loss", options={**_skips, **_level_set_loss}),
    largefov=dict(label="LargeFOV", config="../photographs/deeplab-largefov_lite0_pennfudan.py"),
    largefov_level_set=dict(
        label="LargeFOV, level-set loss",
        config="../photographs/deeplab-largefov_lite0_pennfudan.py",
        options=_level_set_loss,
    ),
)
