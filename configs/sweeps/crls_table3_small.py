"""Table 3 small, from scratch, on generated shapes, with F-ConNet for comparison."""

_base_ = ["./crls_table3_voc.py"]
seeds = (0, 1, 2)
variants = dict(
    crls=dict(
        config="../quickstart/crls_shapes.py",
        options={
            "val_evaluator.extra_ious": (0.7,),
            "test_evaluator.extra_ious": (0.7,),
        },
    ),
    f_connet=dict(
        label="CRLS with F-ConNet's masks",
        config="../quickstart/crls_f-connet_shapes.py",
        options={
            "val_evaluator.extra_ious": (0.7,),
            "test_evaluator.extra_ious": (0.7,),
        },
    ),
)
