"""A check that the OpenMMLab packages are installed and new enough."""

from importlib import import_module

MINIMUM = {"mmengine": "0.10.0", "mmcv": "2.1.0", "mmdet": "3.3.0"}


def require_openmmlab() -> None:
    """Raise ImportError with advice unless mmengine, mmcv and mmdet can be used."""
    advice = (
        "install the OpenMMLab packages with: pip install 'mmlevelset[openmmlab]'"
        " (mmlevelset.ops alone needs only torch)"
    )
    for name, minimum in MINIMUM.items():
        try:
            module = import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            raise ImportError(f"{name} >= {minimum} is not installed; {advice}") from error
        version = module.__version__
        if _numbers(version) < _numbers(minimum):
            raise ImportError(f"{name} {version} is too old: it must be >= {minimum}; {advice}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
