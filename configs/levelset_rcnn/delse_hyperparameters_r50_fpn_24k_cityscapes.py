"""DELSE with LevelSet R-CNN's hyperparameter head and losses: the paper's Table 3."""

_base_ = ["./delse_r50_fpn_24k_cityscapes.py"]
model = dict(
    roi_head=dict(
        mask_head=dict(
            hyperparameter_head=dict(
                _delete_=True,
                type="mmlevelset.DELSEHyperparameterHead",
                num_convs=4,
                conv_channels=256,
                fc_channels=256,
            ),
            loss_initial=dict(
                _delete_=True, type="mmlevelset.TSDFLoss", eps=0.1, l1_weight=1.0, bce_weight=1.0
            ),
            loss_final=dict(
                _delete_=True, type="mmlevelset.TSDFLoss", eps=0.1, l1_weight=1.0, bce_weight=1.0
            ),
        )
    )
)
