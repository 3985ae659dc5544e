"""COCO (``data/coco``), tested on COCO's own masks of val2017 and on LVIS's of the same images.

LVIS's give AP* (``lvis/segm_AP``) of LevelSet R-CNN's Table 2: finer masks, COCO's categories, a
model trained on COCO alone. Use it in place of ``coco_instance.py``;
``tools/dataset_converters/lvis_coco.py`` makes the file.
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
