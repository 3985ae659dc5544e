"""Table 6 small, from scratch, on generated shapes: about 7 minutes a run on one core.

At the paper's weight of 0.05 the image's energy is little beside a projection loss of weight 3. The
last row, not in the paper, shows the effect of a weight of 1.
"""

_base_ = ["./box-levelset_table6_voc.py"]
seeds = (0, 1, 2)
config = "../quickstart/box-levelset_shapes.py"
variants = dict(
    image_weight_1=dict(
        label="energy of the image, weight 1",
        options={
            "model.mask_head.loss_level_set.feature_weight": 0.0,
            "model.mask_head.loss_level_set.image_weight": 1.0,
        },
    ),
)
