"""Table 8 small, from scratch, on generated shapes: 16 and 48 epochs, at one scale."""

_base_ = ["./box-levelset_table8_voc.py"]
seeds = (0, 1, 2)
config = "../quickstart/box-levelset_shapes.py"
variants = dict(
    short=dict(label="16 epochs"),
    long=dict(
        label="48 epochs",
        config="../quickstart/box-levelset_shapes.py",
        options={
            "train_cfg.max_epochs": 48,
            "train_cfg.val_interval": 16,
            "param_scheduler.1.T_max": 48,
        },
    ),
)
