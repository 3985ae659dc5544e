from typing import NamedTuple

from torch import Tensor


class LevelSets(NamedTuple):
    """The level sets of M RoIs on the RoIs' grids.

    Attributes:
        trajectory: phi_0..phi_N (M, N+1, H, W), float32, positive inside; about 1 is the
            truncation range.
        refined: phi_N after the refinement (M, H, W); None without a refinement.
        velocity: x and y of DELSE's velocity, a unit vector, (M, 2, H, W); None in other heads.
        log: In training, values for the log by name, (M,) each; else None.
    """

    trajectory: Tensor
    refined: Tensor | None = None
    velocity: Tensor | None = None
    log: dict[str, Tensor] | None = None

    @property
    def initial(self) -> Tensor:
        """phi_0 (M, H, W)."""
        return self.trajectory[:, 0]

    @property
    def final(self) -> Tensor:
        """The level set (M, H, W) of the predicted mask: the refined phi_N if there is one."""
        return self.trajectory[:, -1] if self.refined is None else self.refined
