# TorchServe with the model: listens on loopback unless told otherwise (`--listen 0.0.0.0`), tokens on.
# TORCH_BACKEND: cpu takes the small build of torch from PyTorch's own index, by the hashes in requirements/torch-cpu.txt
# where `make lock-torch` has written them; empty takes PyPI's, which brings CUDA.
ARG BASE=docker.io/library/python:3.11-slim@sha256:db3ff2e1800a8581e2c48a27c3995339d47bdf046da21c7627accd3d51053a93

FROM ${BASE} AS build
ARG TORCH_BACKEND=cpu
WORKDIR /build
COPY docker/install.sh requirements/uv.txt requirements/torch*.txt ./
# The secrets are optional: pip's and uv's settings for a mirror of the package index, and its certificates.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=uv_toml,target=/etc/uv/uv.toml \
    --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    ./install.sh torchserve.txt "${TORCH_BACKEND}"
WORKDIR /app
COPY deploy/__init__.py deploy/layout.py deploy/
COPY deploy/torchserve/__init__.py deploy/torchserve/container.py deploy/torchserve/process.py deploy/torchserve/
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash deploy \
    && install -d -o 10001 -g 10001 /state/torchserve && install -d -m 1777 /state/tmp
COPY config.properties ./
COPY docker/torchserve docker/torchserve
COPY model_store/product-photo-detector.mar model_store/

FROM ${BASE}
LABEL org.opencontainers.image.title="AI product photo detector: TorchServe and the model" \
      org.opencontainers.image.licenses="MIT"
# Without an entry for the user in /etc/passwd, Python and Java ask these who and where they are.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    HOME=/app/var/tmp \
    LOGNAME=torchserve
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app ./
# All that is written: unpacked archives and sockets in tmp, settings and tokens in torchserve.
COPY --from=build /state var
USER 10001:10001
EXPOSE 8085 8087
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python", "-m", "deploy.torchserve.container", "--check"]
ENTRYPOINT ["python", "-m", "deploy.torchserve.container"]
