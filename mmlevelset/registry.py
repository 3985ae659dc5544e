"""Registries of scope ``mmlevelset``, children of mmengine's root registries.

A config names a type as ``mmlevelset.X``. mmengine then imports this module and
the locations below, so a config needs no ``custom_imports``.
"""

from mmengine import registry as root

DATASETS = root.Registry(
    "dataset", parent=root.DATASETS, scope="mmlevelset", locations=["mmlevelset.datasets"]
)
TRANSFORMS = root.Registry(
    "transform", parent=root.TRANSFORMS, scope="mmlevelset", locations=["mmlevelset.datasets"]
)
MODELS = root.Registry(
    "model", parent=root.MODELS, scope="mmlevelset", locations=["mmlevelset.models"]
)
METRICS = root.Registry(
    "metric", parent=root.METRICS, scope="mmlevelset", locations=["mmlevelset.evaluation"]
)
HOOKS = root.Registry(
    "hook",
    parent=root.HOOKS,
    scope="mmlevelset",
    locations=["mmlevelset.engine", "mmlevelset.visualization"],
)
WEIGHT_INITIALIZERS = root.Registry(
    "weight initializer",
    parent=root.WEIGHT_INITIALIZERS,
    scope="mmlevelset",
    locations=["mmlevelset.models"],
)
TASK_UTILS = root.Registry(
    "task util", parent=root.TASK_UTILS, scope="mmlevelset", locations=["mmlevelset.models"]
)
