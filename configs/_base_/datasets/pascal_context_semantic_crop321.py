"""Pascal-Context in crops of 321, the paper's size for DeepLab-ResNet101."""

_base_ = ["./pascal_context_semantic.py"]
crop_size = (321, 321)
train_pipeline = _base_.train_pipeline
train_pipeline[3].crop_size = train_pipeline[4].size = crop_size
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
