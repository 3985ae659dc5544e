import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer
from mmengine.config import Config

from mmlevelset.errors import InputError
from mmlevelset.experiments.weights.publishing import halved, main, without_run
from tests.experiments.random_weights import CLASSES, QUICKSTART, write_checkpoint

NAME = "levelset-rcnn_image_shapes"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The work dir of a training, with its checkpoint and its log."""
    folder = tmp_path_factory.mktemp("run")
    write_checkpoint(NAME, folder / "epoch_2.pth")
    log = folder / "20200101_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    records = [
        dict(loss=1.0, step=20, epoch=2, iter=20),
        {"coco/segm_mAP": 0.123, "coco/AF_1": 0.456, "step": 2},
    ]
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.fixture(scope="module")
def published(run) -> Path:
    out = run / "weights" / "shapes.pth"
    main([str(run / "epoch_2.pth"), "--out", str(out), "--score-thr=0.4"])
    return out


def test_tensors_are_halved_and_facts_are_plain(run, published):
    before = torch.load(run / "epoch_2.pth", weights_only=False)
    content = torch.load(published, weights_only=True)
    assert content.keys() == {"state_dict", "meta"}
    assert content["state_dict"].keys() == before["state_dict"].keys()
    for name, value in content["state_dict"].items():
        assert value.dtype == torch.float16
        assert torch.equal(value, before["state_dict"][name].half())
    meta = content["meta"]
    assert tuple(meta["dataset_meta"]["classes"]) == CLASSES
    assert meta["config"] == NAME and meta["score_thr"] == 0.4 and meta["seed"] == 5
    assert meta["versions"].keys() >= {"mmlevelset", "torch", "mmdet"}
    assert published.stat().st_size < 14e6


def test_card_has_the_facts_of_the_run(published):
    card = published.with_suffix(".md").read_text()
    assert card.startswith("# shapes\n")
    assert "| classes | star, ring, spider, split |" in card
    assert "| training data | `mmlevelset.ShapesDataset` (length 512, seed 0) |" in card
    assert "| training | 2 epochs, 20 iterations |" in card
    assert f"`python tools/train.py configs/quickstart/{NAME}.py`" in card
    assert "| seed | 5 |" in card
    assert "| segm_mAP | 12.3 |" in card and "| AF_1 | 45.6 |" in card
    assert "## Licence\n\nFILL IN" in card


def test_a_card_is_not_written_over(run, published, capsys):
    card = published.with_suffix(".md")
    text = card.read_text()
    card.write_text("mine")
    main([str(run / "epoch_2.pth"), "--out", str(published), "--score-thr=0.4"])
    assert "exists and stays as it is" in capsys.readouterr().out
    assert card.read_text() == "mine"
    card.write_text(text)


def test_mmdet_reads_the_weights_alone(published):
    inferencer = DetInferencer(weights=str(published), device="cpu", show_progress=False)
    model = inferencer.model
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert tuple(model.dataset_meta["classes"]) == CLASSES
    image = np.zeros((64, 64, 3), np.uint8)
    (found,) = inferencer(image, return_datasamples=True, no_save_vis=True)["predictions"]
    assert found.pred_instances.masks.shape[1:] == (64, 64)


def test_larger_files_and_files_of_another_model_are_refused(run, tmp_path, capsys):
    checkpoint, out = str(run / "epoch_2.pth"), tmp_path / "new" / "x.pth"
    other = str(QUICKSTART / "mask-rcnn_shapes.py")
    for words, message in (
        (["--limit=1"], r"x.pth would have 8.0 MB, more than --limit 1"),
        (["--config", other], "is not of the config's model: 11 weights of the checkpoint unknown"),
        (["--config", "none.py"], "the config none.py does not exist"),
        (["--score-thr=2"], "--score-thr must be in 0..1, and was 2.0"),
        (["--cfg-options", "model.x=1"], "--cfg-options model.x: model has no 'x'"),
    ):
        with pytest.raises(SystemExit) as end:
            main([checkpoint, "--out", str(out), *words])
        assert end.value.code == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.*"))


def test_halved_keeps_integers_and_numbers_out_of_range():
    state = dict(
        counter=torch.tensor(2**60 + 1),
        flags=torch.tensor([True, False]),
        usual=torch.tensor([1.0, -0.1]),
        double=torch.tensor([0.1], dtype=torch.float64),
        large=torch.tensor([1e5, 1.0]),
        tiny=torch.tensor([1e-9, 2e-8]),
        few=torch.tensor([1e-9, 1.0]),
        zero=torch.zeros(3),
        none=torch.zeros(0, 3),
        view=torch.zeros(1000)[:1],
    )
    made = halved(state)
    assert made["counter"] == 2**60 + 1 and made["flags"].tolist() == [True, False]
    kinds = {name: value.dtype for name, value in made.items()}
    assert {name for name, kind in kinds.items() if kind == torch.float32} == {"large", "tiny"}
    halves = {"usual", "double", "few", "zero", "none", "view"}
    assert {name for name, kind in kinds.items() if kind == torch.float16} == halves
    assert torch.equal(made["tiny"], state["tiny"])
    assert made["view"].untyped_storage().nbytes() == 2


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_an_error(number):
    with pytest.raises(InputError, match=r"head\.weight holds NaN or infinity"):
        halved({"head.weight": torch.tensor([0.0, number])})


def test_pretrained_files_and_the_run_are_left_out():
    backbone = dict(type="ResNet", init_cfg=dict(type="mmlevelset.Pretrained", checkpoint="x.pth"))
    light = dict(type="EfficientNetLite", init_cfg=dict(type="mmlevelset.PipWeights"))
    head = dict(
        light=light,
        init_cfg=[dict(type="Normal", std=0.1), dict(type="Pretrained", checkpoint="y")],
    )
    config = Config(
        dict(
            model=dict(type="M", pretrained="z.pth", backbone=backbone, head=head),
            work_dir="/home/me/work",
            load_from="/home/me/x.pth",
            train_cfg=dict(max_epochs=2),
        )
    )
    left = without_run(config).to_dict()
    assert left == dict(
        model=dict(
            type="M",
            pretrained=None,
            backbone=dict(type="ResNet", init_cfg=None),
            head=dict(
                light=dict(type="EfficientNetLite", init_cfg=None),
                init_cfg=[dict(type="Normal", std=0.1)],
            ),
        ),
        train_cfg=dict(max_epochs=2),
    )
