"""Pascal-Context, 59 classes and the background: 4,998 images to train on, 5,105 to validate.

``tools/dataset_converters/pascal_context.py`` prepares it.
"""

_base_ = ["./semantic_crops.py"]
data_root = "data/VOCdevkit/VOC2010/"
train_dataloader = dict(
    dataset=dict(
        type="mmlevelset.PascalContextDataset",
        data_root=data_root,
        ann_file="ImageSets/SegmentationContext/train.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext"),
    )
)
val_dataloader = dict(
    dataset=dict(
        type="mmlevelset.PascalContextDataset",
        data_root=data_root,
        ann_file="ImageSets/SegmentationContext/val.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext"),
    )
)
test_dataloader = val_dataloader
