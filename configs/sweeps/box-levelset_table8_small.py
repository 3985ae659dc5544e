"""The same small, from scratch, on generated shapes: 16 and 48 epochs, at one scale."""

_base_ = ["./box-levelset_table8_voc.py"]
seeds = (0, 1, 2)
options = {"model.mask_head.loss_level_set.tree_filter": False}  # Table 9 adds it
variants = dict(
    short=dict(label="16 epochs", config="../quickstart/box-levelset_paper_shapes.py"),
    long=dict(
        label="48 epochs",
        config="../quickstart/box-levelset_paper_shapes.py",
        options={
            "train_cfg.max_epochs": 48,
            "train_cfg.val_interval": 16,
            "param_scheduler.1.T_max": 48,
        },
    ),
)
