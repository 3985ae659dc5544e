"""RLS as in the paper: 64 x 64 pixels, all matrices over the whole image; 168 million weights.

In the paper phi_0 is random; it leaves ``eps``, ``reduction`` and the normalisation open.
"""

model = dict(
    type="mmlevelset.RLS",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=1,
        pad_seg=True,
        seg_pad_value=255,
    ),
    network=dict(
        type="mmlevelset.RecurrentLevelSet",
        gate="dense",
        size=(64, 64),
        in_channels=3,
        num_steps=5,
        tied=True,
        initial="random",
        num_discs=4,
        reduction="sum",
        eps=0.1,
        eta=1e-4,
        supervise="last",
    ),
    input_size=None,
    standardise=True,
)
