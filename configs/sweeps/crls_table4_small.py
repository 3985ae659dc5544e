"""Table 4 small, from scratch, on generated shapes, with F-ConNet for comparison."""

_base_ = ["./crls_table4_coco.py"]
seeds = (0, 1, 2)
variants = dict(
    crls=dict(config="../quickstart/crls_shapes.py"),
    f_connet=dict(
        label="CRLS with F-ConNet's masks", config="../quickstart/crls_f-connet_shapes.py"
    ),
)
