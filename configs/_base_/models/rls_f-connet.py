"""F-ConNet, the baseline of RLS in its paper: two fully connected layers at 64 x 64 pixels."""

_base_ = ["./rls_dense.py"]
model = dict(
    network=dict(
        _delete_=True, type="mmlevelset.FConNet", size=(64, 64), in_channels=3, hidden=None
    )
)
