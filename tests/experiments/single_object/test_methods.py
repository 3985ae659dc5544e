from pathlib import Path

import numpy as np

from mmlevelset.experiments.single_object.methods import Network


def test_a_network_resizes_by_its_own_pipeline(network):
    name, config, checkpoint = network
    Path(config).write_text(
        Path(config).read_text() + "test_dataloader['dataset']['pipeline'] = ["
        "dict(type='LoadImageFromFile'), dict(type='Resize', scale=(48, 48), keep_ratio=True),"
        "dict(type='mmlevelset.LoadSemanticAnnotations'), dict(type='mmlevelset.BinaryLabels'),"
        "dict(type='PackDetInputs', meta_keys=('img_path', 'ori_shape', 'img_shape'))]\n"
    )
    made = Network(name, config, checkpoint)
    seen = []
    predict = made.model.predict
    made.model.predict = lambda inputs, samples: seen.append(inputs) or predict(inputs, samples)
    found = made.segment([np.zeros((24, 12, 3), np.uint8)], lambda count: None)
    assert tuple(seen[0].shape) == (1, 3, 48, 24)
    assert found.masks[0].shape == (24, 12)
    assert found.masks[0].dtype == bool
