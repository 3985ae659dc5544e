"""DELSE with the hyperparameter head and the losses of LevelSet R-CNN."""

_base_ = ["./delse_shapes.py"]
model = dict(
    roi_head=dict(
        mask_head=dict(
            hyperparameter_head=dict(
                _delete_=True,
                type="mmlevelset.DELSEHyperparameterHead",
                num_convs=1,
                conv_channels=16,
                fc_channels=64,
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
