"""A small Mask2Former from boxes that trains from scratch on a CPU."""

_base_ = ["./box-mask2former_r50.py"]
norm = dict(type="GN", num_groups=8, requires_grad=True)
attention = dict(embed_dims=64, num_heads=4)
forward = dict(embed_dims=64, feedforward_channels=128)
model = dict(
    backbone=dict(
        depth=18,
        base_channels=32,
        stem_channels=32,
        norm_cfg=norm,
        norm_eval=False,
        init_cfg=None,
    ),
    panoptic_head=dict(
        in_channels=[32, 64, 128, 256],
        feat_channels=64,
        out_channels=64,
        num_queries=20,
        pixel_decoder=dict(
            norm_cfg=norm,
            encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=forward)),
            positional_encoding=dict(num_feats=32),
        ),
        positional_encoding=dict(num_feats=32),
        transformer_decoder=dict(
            num_layers=3,
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=forward),
        ),
    ),
    train_cfg=dict(num_points=1024),
    test_cfg=dict(max_per_image=20),
)
del norm, attention, forward
