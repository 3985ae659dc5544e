"""EfficientNet-Lite0 with ImageNet weights under a normalised FPN, for photographs.

A model takes what it has of it: ``model = _base_.lite0``. The weights need mmlevelset[light].
Without a norm, the FPN's features have a standard deviation of 15.
"""

lite0 = dict(
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(
        _delete_=True,
        type="mmlevelset.EfficientNetLite",
        arch="lite0",
        out_indices=(2, 3, 5, 7),
        output_stride=32,
        frozen_stages=0,
        norm_eval=True,
        with_cp=False,
        init_cfg=dict(type="mmlevelset.PipWeights"),
    ),
    neck=dict(
        in_channels=[24, 40, 112, 320],
        out_channels=64,
        norm_cfg=dict(type="GN", num_groups=8, requires_grad=True),
    ),
)
