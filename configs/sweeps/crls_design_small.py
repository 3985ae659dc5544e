"""Mask R-CNN, the small CRLS, F-ConNet in its place, and the paper's choices, on generated shapes.

The choices come one at a time and all together. 20 minutes a run on one core, 8 of Mask R-CNN.
"""

title = "CRLS, small: F-ConNet, and the paper's choices"
metrics = {
    "mask AP": "coco/segm_mAP",
    "AP_50": "coco/segm_mAP_50",
    "AP_75": "coco/segm_mAP_75",
    "AF_1": "coco/AF_1",
    "box AP": "coco/bbox_mAP",
}
seeds = (0, 1, 2)
config = "../quickstart/crls_shapes.py"
_heads = "model.roi_head"
_network = f"{_heads}.mask_head.network"
_box_gradient = {f"{_heads}.bbox_roi_extractor.box_gradient": 1.0}
_pool = {f"{_heads}.bbox_head.pool": "max"}
_image = {f"{_heads}.mask_head.num_convs": 0, f"{_network}.in_channels": 1}
_gates = {
    f"{_network}.in_channels": 1,
    f"{_network}.gate": "dense",
    f"{_network}.size": (21, 21),
    f"{_network}.hidden_channels": 1,
    f"{_network}.reduction": "sum",
    f"{_network}.initial": "random",
    f"{_network}.supervise": "last",
}
_mask_boxes = {f"{_heads}.mask_boxes": "proposals"}
_smooth_l1 = dict(_delete_=True, type="SmoothL1Loss", loss_weight=1.0)
_losses = {
    "model.rpn_head.loss_bbox": dict(_smooth_l1, beta=1 / 9, loss_weight=256 * 10 / 2400),
    f"{_heads}.bbox_head.loss_bbox": dict(_smooth_l1, beta=1.0),
}
variants = dict(
    mask_rcnn=dict(label="Mask R-CNN", config="../quickstart/mask-rcnn_shapes.py"),
    crls=dict(label="CRLS, small"),
    f_connet=dict(label="F-ConNet's masks", config="../quickstart/crls_f-connet_shapes.py"),
    box_gradient=dict(label="gradients to the proposals' boxes", options=_box_gradient),
    pool=dict(label="features pooled by their maximum", options=_pool),
    image=dict(label="I by a fully connected layer", options=_image),
    gates=dict(
        label="dense gates, one loss, phi_0 of noise",
        options=_gates,
    ),
    mask_boxes=dict(label="masks in the proposals", of="crls", options=_mask_boxes),
    losses=dict(label="smooth L1", options=_losses),
    paper=dict(
        label="all of these",
        options={**_box_gradient, **_pool, **_image, **_gates, **_mask_boxes, **_losses},
    ),
)
