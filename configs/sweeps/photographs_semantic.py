"""Penn-Fudan as label maps: FCN and LargeFOV on a pretrained EfficientNet-Lite0, with and without
the level-set loss, with the paper's weight of it and larger ones.

110 photographs to train on, 20 to validate, 8 epochs; the backbone's first five stages are frozen.
About 3 minutes a run of FCN on one core, 6 of LargeFOV.
"""

title = "Photographs, label maps: Penn-Fudan's pedestrians and background"
metrics = {"mIoU": "mIoU", "boundary F1, 1 px": "BF_1", "boundary F1, 2 px": "BF_2"}
seeds = (0, 1, 2)
config = "../photographs/fcn-32s_lite0_pennfudan.py"
_weight = "model.decode_head.loss_decode.1.loss_weight"
_paper, _ten, _hundred = {_weight: 4e-4}, {_weight: 4e-3}, {_weight: 4e-2}
_warm = {**_hundred, "model.decode_head.loss_decode.1.warmup_iters": 150}
_skips = {"model.decode_head.skips": 2}
_largefov = "../photographs/deeplab-largefov_lite0_pennfudan.py"
variants = dict(
    fcn_32s=dict(label="FCN-32s"),
    fcn_32s_level_set=dict(label="FCN-32s, lambda 4e-4 (paper)", options=_paper),
    fcn_32s_warm=dict(label="FCN-32s, lambda 4e-2 with a warm-up", options=_warm),
    fcn_8s=dict(label="FCN-8s", options=_skips),
    fcn_8s_level_set=dict(label="FCN-8s, lambda 4e-4 (paper)", options={**_skips, **_paper}),
    fcn_8s_10x=dict(label="FCN-8s, lambda 4e-3", options={**_skips, **_ten}),
    fcn_8s_100x=dict(label="FCN-8s, lambda 4e-2", options={**_skips, **_hundred}),
    fcn_8s_warm=dict(label="FCN-8s, lambda 4e-2 with a warm-up", options={**_skips, **_warm}),
    largefov=dict(label="LargeFOV", config=_largefov),
    largefov_level_set=dict(
        label="LargeFOV, lambda 4e-4 (paper)", config=_largefov, options=_paper
    ),
    largefov_warm=dict(
        label="LargeFOV, lambda 4e-2 with a warm-up", config=_largefov, options=_warm
    ),
)
