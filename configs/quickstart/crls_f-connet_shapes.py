"""CRLS without recurrent level sets: masks by two fully connected layers, all else as it is."""

_base_ = ["./crls_shapes.py"]
model = dict(
    roi_head=dict(
        mask_head=dict(
            network=dict(
                _delete_=True, type="mmlevelset.FConNet", size=(21, 21), in_channels=1, hidden=None
            )
        )
    )
)
