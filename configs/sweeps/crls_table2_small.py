"""Table 2 small, on generated images of one object; FM (GT2) stays empty."""

_base_ = ["./crls_table2_weizmann.py"]
seeds = (0, 1, 2)
config = "../quickstart/rls_shapes.py"
variants = dict(
    chan_vese=dict(metrics={"FM (GT1)": "chan_vese/FM"}),
    drlse=dict(metrics={"FM (GT1)": "drlse/FM"}),
    region_scalable_fitting=dict(metrics={"FM (GT1)": "region_scalable_fitting/FM"}),
    legendre_level_set=dict(metrics={"FM (GT1)": "legendre_level_set/FM"}),
    f_connet_trained=dict(config="../quickstart/f-connet_shapes.py"),
    f_connet=dict(config="../quickstart/f-connet_shapes.py", metrics={"FM (GT1)": "network/FM"}),
    rls_trained=dict(config="../quickstart/rls_shapes.py"),
    rls=dict(config="../quickstart/rls_shapes.py", metrics={"FM (GT1)": "network/FM"}),
)
