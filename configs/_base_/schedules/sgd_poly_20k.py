"""SGD with the learning rate (1 - iter / 20000)^0.9 for FCN: 10 images a step.

The level-set loss's paper prints the policy for DeepLab-v2 alone, and no number of iterations.
Biases learn twice as fast and have no weight decay, as in the network files of FCN's and DeepLab's
authors.
"""

max_iters = 20000
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=2000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.004, momentum=0.9, weight_decay=0.0001),
    paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=max_iters)
]
auto_scale_lr = dict(enable=False, base_batch_size=10)
