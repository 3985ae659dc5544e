"""Single pedestrians cut out of Penn-Fudan: F-ConNet, RLS and Chan-Vese, in percent.

278 crops to train on, 42 to validate, 40 epochs. These networks have no backbone. All methods
predict masks of the crops' own size. A checkpoint of RLS with dense gates takes 2 GB.
"""

title = "Photographs, single objects: Penn-Fudan's pedestrians"
metrics = {"F": "FM", "boundary F1, 1 px": "BF_1", "boundary F1, 2 px": "BF_2"}
seeds = (0, 1, 2)
config = "../crls/f-connet_small_pennfudan.py"
variants = dict(
    chan_vese=dict(
        label="Chan-Vese, its settings chosen on training images",
        command="tools/compare_single_object.py {config} --out-dir {folder} --json {result}"
        " --pictures 0 --solver chan_vese --tune 20",
        metrics={"F": "chan_vese/FM"},
        seeds=(0,),
    ),
    f_connet=dict(label="F-ConNet"),
    rls_conv=dict(label="RLS, convolutional gates", config="../crls/rls_conv_small_pennfudan.py"),
    rls=dict(label="RLS, dense gates", config="../crls/rls_small_pennfudan.py"),
)
