_base_ = ["./levelset-rcnn_shapes.py"]
model = dict(
    roi_head=dict(
        mask_head=dict(image_features=True, data_scale=10.0, initial_weight=1.0, final_weight=1.0)
    )
)
