# mmlevelset on CUDA:  docker build -f docker/cuda.Dockerfile -t mmlevelset:cuda .
# The CUDA of the base is that of the wheels of torch in constraints.txt.
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04 AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ make python3.12-dev python3.12-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_CONSTRAINT=/build/constraints.txt
WORKDIR /build
COPY constraints.txt ./
# hadolint ignore=DL3013
RUN python3.12 -m venv /opt/venv \
    && pip install --upgrade pip setuptools wheel ninja hatchling \
    && pip install torch numpy
# The GPUs that mmcv's operators are compiled for; the build itself sees no GPU.
ARG TORCH_CUDA_ARCH_LIST="8.0;8.6;8.9;9.0+PTX"
# hadolint ignore=DL3013
RUN MMCV_WITH_OPS=1 FORCE_CUDA=1 CFLAGS="-g0 -O2 -w" \
    TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST}" \
    pip install --no-deps --no-build-isolation --no-binary onedl-mmcv onedl-mmcv
COPY . .
# OpenCV without windows, in place of the build that needs libGL.
# hadolint ignore=DL3013
RUN pip install --no-build-isolation '.[openmmlab,light,export,app]' \
    && pip uninstall -y opencv-python \
    && pip install --force-reinstall --no-deps opencv-python-headless \
    && python -c "import cv2, mmcv.ops, mmdet, mmlevelset.models"

FROM nvidia/cuda:13.0.1-base-ubuntu24.04
# Triton compiles the start of each kernel with a C compiler when it runs.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev python3.12 python3.12-dev \
    && rm -rf /var/lib/apt/lists/* \
    && userdel --remove ubuntu \
    && useradd --create-home --uid 1000 user
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
USER 1000
WORKDIR /work
EXPOSE 7860
CMD ["mim", "run", "mmlevelset", "predict", "-h"]
