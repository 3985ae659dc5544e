import numpy as np
import pytest
import torch

from mmlevelset.visualization import color_labels, semantic_panels

PALETTE = [(0, 0, 0), (200, 10, 30)]
LABELS = np.array([[0, 1, 1], [1, 255, 0]], np.uint8)


@pytest.mark.parametrize("labels", [LABELS, torch.from_numpy(LABELS), LABELS.astype(np.int64)])
def test_colours_of_classes_in_bgr(labels):
    painted = color_labels(labels, PALETTE)
    assert painted.dtype == np.uint8 and painted.shape == (2, 3, 3)
    assert painted[0].tolist() == [[0, 0, 0], [30, 10, 200], [30, 10, 200]]
    assert painted[1, 1].tolist() == [192, 224, 224]


def test_another_ignore_index():
    labels = np.array([[1, 9]])
    assert color_labels(labels, PALETTE, ignore_index=9)[0, 1].tolist() == [192, 224, 224]
    with pytest.raises(ValueError, match=r"labels must be 0 to 1, .* or 255, and include \[9\]"):
        color_labels(labels, PALETTE)


def test_panels_stand_side_by_side():
    image = np.full((2, 3, 3), 70, np.uint8)
    panels = semantic_panels(
        image, {"FCN": 1 - LABELS // 255, "DeepLab": LABELS}, LABELS, palette=PALETTE
    )
    assert [panel.title for panel in panels] == ["image", "ground truth", "FCN", "DeepLab"]
    assert np.array_equal(panels[1].image, panels[3].image)
    assert not np.array_equal(panels[1].image, panels[2].image)
    assert len(semantic_panels(image, {"FCN": LABELS}, palette=PALETTE)) == 2


def test_bad_input_is_named():
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=r"label map 'FCN' must have shape \(4, 4\), but has"):
        semantic_panels(image, {"FCN": LABELS}, palette=PALETTE)
    with pytest.raises(ValueError, match=r"labels must have shape \(H, W\)"):
        color_labels(LABELS[None], PALETTE)
