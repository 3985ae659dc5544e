"""CRLS with two fully connected layers (F-ConNet) in place of the recurrent level set."""

_base_ = ["./crls_shapes.py"]
model = dict(
    roi_head=dict(
        mask_head=dict(
            network=dict(
                _delete_=True, type="mmlevelset.FConNet", size=(21, 21), in_channels=8, hidden=None
            )
        )
    )
)
