"""CRLS, Table 4: mAP^r on COCO."""

title = "CRLS, Table 4: mAP^r over IoU 0.5:0.95 and at 0.5"
printed_on = "MS COCO 2014"
metrics = {"mAP^r": "coco/segm_mAP", "mAP^r 0.5": "coco/segm_mAP_50"}
seeds = (0,)
variants = dict(
    crls=dict(
        label="CRLS",
        config="../crls/crls_vgg16_200k_coco.py",
        printed={"mAP^r": 20.5, "mAP^r 0.5": 40.1},
    ),
)
