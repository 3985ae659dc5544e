"""The same for DeepLab-LargeFOV, whose new layer learns ten times as fast, its bias twenty times."""

_base_ = ["./sgd_poly_20k.py"]
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "decode_head.classifier": dict(lr_mult=10.0),
            "decode_head.classifier.bias": dict(lr_mult=20.0),
        }
    )
)
