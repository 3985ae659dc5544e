"""COCO (``data/coco``), tested on COCO's own masks of val2017 and on LVIS's of the same images.

LVIS's finer masks of COCO's categories give the AP* of LevelSet R-CNN's Table 2 (``lvis/segm_AP``),
for a model trained on COCO alone. Use this file in place of ``coco_instance.py``;
``tools/dataset_converters/lvis_coco.py`` makes the annotations.
"""

_base_ = ["./coco_instance.py"]
test_evaluator = [
    dict(
        type="mmlevelset.LevelSetCocoMetric",
        ann_file="data/coco/annotations/instances_val2017.json",
        metric=["bbox", "segm"],
    ),
    dict(
        type="mmlevelset.LVISCocoMetric",
        ann_file="data/coco/annotations/lvis_v0.5_val_coco.json",
        metric=["segm"],
    ),
]
