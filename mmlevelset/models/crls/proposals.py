from mmdet.models.dense_heads import RPNHead
from mmdet.models.utils import select_single_mlvl
from mmdet.utils import ConfigType, InstanceList
from torch import Tensor

from mmlevelset.registry import MODELS


@MODELS.register_module()
class CRLSRPNHead(RPNHead):
    """mmdet's region proposal network; its proposals have gradients.

    mmdet detaches proposals. Here the coordinates have gradients to the regression, so that the
    losses of the later stages can train the boxes (Le et al. 2019, section 4): ``box_gradient`` of
    :class:`RoIWarp` decides. The choice of proposals by scores and non-maximum suppression is not
    differentiated.
    """

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        score_factors: list[Tensor] | None = None,
        batch_img_metas: list[dict] | None = None,
        cfg: ConfigType | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceList:
        """Return the proposals of each image; arguments are mmdet's."""
        metas = batch_img_metas or []
        # float32 under autocast too: in half precision a box is rounded to pixels.
        cls_scores = [scores.float() for scores in cls_scores]
        bbox_preds = [deltas.float() for deltas in bbox_preds]
        priors = self.prior_generator.grid_priors(
            [scores.shape[2:] for scores in cls_scores],
            dtype=cls_scores[0].dtype,
            device=cls_scores[0].device,
        )
        return [
            self._predict_by_feat_single(
                cls_score_list=select_single_mlvl(cls_scores, number, detach=True),
                bbox_pred_list=select_single_mlvl(bbox_preds, number, detach=False),
                score_factor_list=[None for _ in cls_scores],
                mlvl_priors=priors,
                img_meta=meta,
                cfg=cfg,
                rescale=rescale,
                with_nms=with_nms,
            )
            for number, meta in enumerate(metas)
        ]
