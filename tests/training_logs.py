"""Logs of trainings as mmengine writes them."""

import json


def train(step: int, loss: float, epoch: bool = True) -> dict:
    record = dict(lr=0.01, loss=loss, loss_cls=loss / 3, loss_mask=loss / 2, step=step)
    return {**record, "epoch": 1} if epoch else record


def val(step: int, score: float, **more: float) -> dict:
    return {"coco/segm_mAP": score, "coco/AF_1": score / 2, "time": 0.1, **more, "step": step}


def write(path, *records: dict, end: str = ""):
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + end)
    return path
