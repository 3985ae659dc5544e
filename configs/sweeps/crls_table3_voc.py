"""CRLS, Table 3: mAP^r on Pascal VOC."""

title = "CRLS, Table 3: mAP^r at IoU 0.5 and 0.7"
printed_on = "Pascal VOC 2012 val (5,823 images)"
metrics = {"mAP^r 0.5": "coco/segm_mAP_50", "mAP^r 0.7": "coco/segm_mAP_70", "s/image": "time"}
seeds = (0,)
variants = dict(
    sds=dict(
        label="SDS (AlexNet)",
        run=False,
        printed={"mAP^r 0.5": 49.7, "mAP^r 0.7": 25.3, "s/image": 48},
    ),
    crls=dict(
        label="CRLS",
        config="../crls/crls_vgg16_40k_voc.py",
        printed={"mAP^r 0.5": 66.7, "mAP^r 0.7": 44.6, "s/image": 0.54},
    ),
)
