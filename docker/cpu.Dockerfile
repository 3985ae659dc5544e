# mmlevelset on a CPU:  docker build -f docker/cpu.Dockerfile -t mmlevelset:cpu .
FROM python:3.12.11-slim-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ make \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_CONSTRAINT=/build/constraints.txt \
    PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
WORKDIR /build
COPY constraints.txt ./
# hadolint ignore=DL3013
RUN python -m venv /opt/venv \
    && pip install --upgrade pip setuptools wheel ninja hatchling \
    && pip install torch numpy
# mmcv has no wheels; its operators are compiled here, for the CPU alone.
# hadolint ignore=DL3013
RUN MMCV_WITH_OPS=1 FORCE_CUDA=0 CFLAGS="-g0 -O2 -w" \
    pip install --no-deps --no-build-isolation --no-binary onedl-mmcv onedl-mmcv
COPY . .
# OpenCV without windows, in place of the build that needs libGL.
# hadolint ignore=DL3013
RUN pip install --no-build-isolation '.[openmmlab,light,export,app]' \
    && pip uninstall -y opencv-python \
    && pip install --force-reinstall --no-deps opencv-python-headless \
    && python -c "import cv2, mmcv.ops, mmdet, mmlevelset.models"

FROM python:3.12.11-slim-bookworm
RUN useradd --create-home --uid 1000 user
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
USER 1000
WORKDIR /work
EXPOSE 7860
CMD ["mim", "run", "mmlevelset", "predict", "-h"]
