"""FCN-32s on ResNet-101, trained by cross-entropy; the level-set loss is off, its energy logged.

``model.decode_head.loss_decode.1.loss_weight=4e-4`` turns the loss on: 4e-4 is the paper's lambda.
The loss sums over classes and over the pixels of a map of 41 x 41 (``map_size``), whatever size its
maps have; its mean over the images of a batch is our choice. ``skips`` 1 and 2 are FCN-16s and
FCN-8s. ``scales=(0.5, 0.75, 1.0)`` are DeepLab's three scales (MSC).
"""

num_classes = 21
cross_entropy = dict(type="CrossEntropyLoss", avg_non_ignore=True)
level_set = dict(
    type="mmlevelset.LevelSetLoss",
    kind="tanh",
    eps=0.05,
    reduction="image",
    map_size=(41, 41),
    loss_weight=4e-4,
    warmup_iters=0,
)
model = dict(
    type="mmlevelset.SemanticSegmentor",
    stride=32,
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=1,
        pad_seg=True,
        seg_pad_value=255,
    ),
    backbone=dict(
        type="ResNet",
        depth=101,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=True,
        style="pytorch",
        init_cfg=dict(
            type="mmlevelset.Pretrained",
            checkpoint="https://download.pytorch.org/models/resnet101-63fe2227.pth",
        ),
    ),
    decode_head=dict(
        type="mmlevelset.FCNHead",
        skips=0,
        in_channels=[256, 512, 1024, 2048],
        num_classes=num_classes,
        dropout_ratio=0.0,
        loss_size="full",
        align_corners=True,
        loss_decode=[cross_entropy, dict(level_set, loss_weight=0.0)],
        monitor=[level_set],
    ),
    multi_scale=dict(scales=(1.0,), supervise_scales=True),
    test_cfg=dict(mode="whole"),
)
