"""CRLS, Table 2: RLS and the classic solvers on Weizmann's one-object images."""

title = "CRLS, Table 2: F-measure of RLS and the classic solvers against two annotators"
printed_on = "Weizmann; seconds at the images' own size for the solvers, at 64 x 64 for networks"
metrics = {"FM (GT1)": "FM_1", "FM (GT2)": "FM_2", "s/image": "seconds"}
seeds = (0,)
config = "../crls/rls_weizmann.py"
_compare = "tools/compare_single_object.py {config} --out-dir {folder} --json {result} --pictures 0"
variants = dict(
    chan_vese=dict(
        label="Chan-Vese",
        command=f"{_compare} --solver chan_vese --tune 20",
        metrics={
            "FM (GT1)": "chan_vese/FM_1",
            "FM (GT2)": "chan_vese/FM_2",
            "s/image": "chan_vese/seconds",
        },
        printed={"FM (GT1)": 88.51, "FM (GT2)": 87.51, "s/image": 13.5},
    ),
    drlse=dict(
        label="DRLSE",
        command=f"{_compare} --solver drlse --tune 20",
        metrics={"FM (GT1)": "drlse/FM_1", "FM (GT2)": "drlse/FM_2", "s/image": "drlse/seconds"},
        printed={"FM (GT1)": 80.93, "FM (GT2)": 71.76, "s/image": 23.5},
    ),
    region_scalable_fitting=dict(
        label="region-scalable fitting",
        command=f"{_compare} --solver region_scalable_fitting --tune 20",
        metrics={
            "FM (GT1)": "region_scalable_fitting/FM_1",
            "FM (GT2)": "region_scalable_fitting/FM_2",
            "s/image": "region_scalable_fitting/seconds",
        },
        printed={"FM (GT1)": 79.65, "FM (GT2)": 63.87, "s/image": 20.4},
    ),
    legendre_level_set=dict(
        label="L2S",
        command=f"{_compare} --solver legendre_level_set --tune 20",
        metrics={
            "FM (GT1)": "legendre_level_set/FM_1",
            "FM (GT2)": "legendre_level_set/FM_2",
            "s/image": "legendre_level_set/seconds",
        },
        printed={"FM (GT1)": 81.36, "FM (GT2)": 71.03, "s/image": 10.2},
    ),
    f_connet_trained=dict(config="../crls/f-connet_weizmann.py", show=False),
    f_connet=dict(
        label="F-ConNet",
        of="f_connet_trained",
        config="../crls/f-connet_weizmann.py",
        command=f"{_compare} --solver none --model network {{source_config}} {{checkpoint}}",
        metrics={
            "FM (GT1)": "network/FM_1",
            "FM (GT2)": "network/FM_2",
            "s/image": "network/seconds",
        },
        printed={"s/image": 0.001},
    ),
    rls_trained=dict(config="../crls/rls_weizmann.py", show=False),
    rls=dict(
        label="RLS",
        of="rls_trained",
        config="../crls/rls_weizmann.py",
        command=f"{_compare} --solver none --model network {{source_config}} {{checkpoint}}",
        metrics={
            "FM (GT1)": "network/FM_1",
            "FM (GT2)": "network/FM_2",
            "s/image": "network/seconds",
        },
        printed={"s/image": 0.008},
    ),
)
