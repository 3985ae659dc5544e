"""sgd_poly_20k.py for DeepLab-LargeFOV: its new layer learns 10 times as fast, the bias 20 times."""

_base_ = ["./sgd_poly_20k.py"]
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "decode_head.classifier": dict(lr_mult=10.0),
            "decode_head.classifier.bias": dict(lr_mult=20.0, decay_mult=0.0),
        }
    )
)
