"""RLS with convolutional gates and a state of eight channels, for images of any size."""

_base_ = ["./rls_dense.py"]
model = dict(
    network=dict(
        gate="conv",
        size=None,
        hidden_channels=8,
        initial="discs",
        reduction="none",
        supervise="all",
    )
)
