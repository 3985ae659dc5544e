"""mmdet's runtime with checkpoints that survive a kill, exact resume, and a stop at NaN."""

_base_ = ["mmdet::_base_/default_runtime.py"]
default_hooks = dict(
    checkpoint=dict(type="mmlevelset.CheckpointHook", interval=1, max_keep_ckpts=2)
)
custom_hooks = [
    dict(type="mmlevelset.NonFiniteLossHook"),
    dict(type="mmlevelset.ReseedHook"),
    dict(type="mmlevelset.MeanLossHook"),
    dict(type="mmlevelset.EvolutionHook"),
]
