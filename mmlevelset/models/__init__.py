from mmlevelset.requirements import require_openmmlab

require_openmmlab()

from mmlevelset.models.backbones import *  # noqa: E402, F403
from mmlevelset.models.box_levelset import *  # noqa: E402, F403
from mmlevelset.models.crls import *  # noqa: E402, F403
from mmlevelset.models.inference import *  # noqa: E402, F403
from mmlevelset.models.levelset_loss import *  # noqa: E402, F403
from mmlevelset.models.levelset_rcnn import *  # noqa: E402, F403
from mmlevelset.models.recurrent import *  # noqa: E402, F403
