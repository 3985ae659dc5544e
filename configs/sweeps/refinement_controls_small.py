"""Which part of the refinement earns its gain? On frozen Mask R-CNNs, one for each seed.

The controls have four layers of 3 x 3 convolutions in place of the recurrent level set, and more
weights. About 8 minutes of one core for a Mask R-CNN, 3 for each refinement of it.
"""

title = "Refinement of frozen Mask R-CNNs, and controls without recurrence"
metrics = {"mask AP": "coco/segm_mAP", "AF_1": "coco/AF_1", "AF_2": "coco/AF_2"}
seeds = (0, 1, 2)
config = "../quickstart/mask-rcnn_refined_frozen_shapes.py"
_refinement = "model.roi_head.mask_head.refinement"
_image = {f"{_refinement}.feature_channels": 0}
_wide = {f"{_refinement}.hidden_channels": 16}
variants = dict(
    mask_rcnn=dict(label="Mask R-CNN", config="../quickstart/mask-rcnn_shapes.py"),
    convolutions=dict(
        label="four convolutions, image alone",
        of="mask_rcnn",
        train=True,
        options={**_image, **_wide, f"{_refinement}.control": "convolutions"},
    ),
    region_term=dict(
        label="the same with squared differences to the region means",
        of="mask_rcnn",
        train=True,
        options={**_image, **_wide, f"{_refinement}.control": "region_term"},
    ),
    image=dict(label="refinement, image alone", of="mask_rcnn", train=True, options=_image),
    convolutions_features=dict(
        label="four convolutions",
        of="mask_rcnn",
        train=True,
        options={**_wide, f"{_refinement}.control": "convolutions"},
    ),
    region_term_features=dict(
        label="the same with squared differences to the region means",
        of="mask_rcnn",
        train=True,
        options={**_wide, f"{_refinement}.control": "region_term"},
    ),
    one_step=dict(
        label="refinement, one step",
        of="mask_rcnn",
        train=True,
        options={f"{_refinement}.num_steps": 1},
    ),
    refinement=dict(label="refinement", of="mask_rcnn", train=True),
)
