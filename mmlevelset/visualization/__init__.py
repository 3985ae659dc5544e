"""Pictures of evolutions, results and training curves."""

from mmlevelset.requirements import require_openmmlab

require_openmmlab()

from mmlevelset.visualization.evolution_pictures import EvolutionPictureHook  # noqa: E402
from mmlevelset.visualization.losses import (  # noqa: E402
    curve_over_steps,
    mean_curve,
    plot_curves,
    plot_losses,
)
from mmlevelset.visualization.panels import Panel, draw_panels, mask_polygons  # noqa: E402
from mmlevelset.visualization.results import (  # noqa: E402
    comparison_panels,
    draw_comparison,
    draw_evolution,
    evolution_panels,
    match_masks,
    matched_colors,
)
from mmlevelset.visualization.semantic import color_labels, semantic_panels  # noqa: E402

__all__ = [
    "EvolutionPictureHook",
    "Panel",
    "color_labels",
    "comparison_panels",
    "curve_over_steps",
    "draw_comparison",
    "draw_evolution",
    "draw_panels",
    "evolution_panels",
    "mask_polygons",
    "match_masks",
    "matched_colors",
    "mean_curve",
    "plot_curves",
    "plot_losses",
    "semantic_panels",
]
