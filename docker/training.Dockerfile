# The pipeline's stages, DVC and MLflow; mount photos, runs and reports, or the whole checkout, over /app.
# TORCH_BACKEND: cpu takes the small build of torch from PyTorch's own index, by the hashes in requirements/torch-cpu.txt
# where `make lock-torch` has written them; empty takes PyPI's, which brings CUDA.
ARG BASE=docker.io/library/python:3.11-slim@sha256:db3ff2e1800a8581e2c48a27c3995339d47bdf046da21c7627accd3d51053a93

FROM ${BASE} AS build
ARG TORCH_BACKEND=cpu
WORKDIR /build
COPY docker/install.sh requirements/uv.txt requirements/training.txt requirements/torch*.txt ./
# The secrets are optional: pip's and uv's settings for a mirror of the package index, and its certificates.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=uv_toml,target=/etc/uv/uv.toml \
    --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    ./install.sh training.txt "${TORCH_BACKEND}"
WORKDIR /app
COPY handler handler
COPY training training
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash handler training \
    && install -d -o 10001 -g 10001 /state /state/data /state/model_store /state/reports /state/runs /state/mlflow
COPY params.yaml dvc.yaml ./

FROM ${BASE}
LABEL org.opencontainers.image.title="AI product photo detector: training and MLflow" \
      org.opencontainers.image.licenses="MIT"
# MLflow, matplotlib and DVC write their own settings below HOME.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    LOGNAME=training \
    MLFLOW_DISABLE_TELEMETRY=true
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app ./
COPY --from=build --chown=10001:10001 /state ./
USER 10001:10001
EXPOSE 5000
# A job that ends by itself; the MLflow service has its own check in compose.yaml.
HEALTHCHECK NONE
CMD ["python", "-m", "training.train", "--help"]
