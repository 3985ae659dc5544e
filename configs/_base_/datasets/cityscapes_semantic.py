"""Cityscapes, 19 classes (``data/cityscapes``): 2,975 images to train on, 500 to validate.

``tools/dataset_converters/cityscapes.py`` prepares it.
"""

_base_ = ["./semantic_crops.py"]
data_root = "data/cityscapes/"
train_dataloader = dict(
    dataset=dict(
        type="mmlevelset.CityscapesSegDataset",
        data_root=data_root,
        data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
    )
)
val_dataloader = dict(
    dataset=dict(
        type="mmlevelset.CityscapesSegDataset",
        data_root=data_root,
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
    )
)
test_dataloader = val_dataloader
