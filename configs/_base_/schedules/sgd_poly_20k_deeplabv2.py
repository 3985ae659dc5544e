"""sgd_poly_20k.py for DeepLab-v2: new layers learn 10 times as fast, their biases 20 times."""

_base_ = ["./sgd_poly_20k.py"]
optim_wrapper = dict(
    optimizer=dict(lr=0.00025, weight_decay=0.0005),
    paramwise_cfg=dict(
        custom_keys={
            "decode_head.classifiers": dict(lr_mult=10.0),
            **{
                f"decode_head.classifiers.{index}.bias": dict(lr_mult=20.0, decay_mult=0.0)
                for index in range(4)
            },
        }
    ),
)
