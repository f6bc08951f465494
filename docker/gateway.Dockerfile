# The gateway. `make pin-images` renews the base's digest, and with it its security fixes. Any base with Python 3.11 or
# newer and its venv module will do.
ARG BASE=docker.io/library/python:3.11-slim@sha256:db3ff2e1800a8581e2c48a27c3995339d47bdf046da21c7627accd3d51053a93

FROM ${BASE} AS build
WORKDIR /build
COPY docker/install.sh requirements/uv.txt requirements/gateway.txt ./
# The secrets are optional: pip's and uv's settings for a mirror of the package index, and its certificates.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=uv_toml,target=/etc/uv/uv.toml \
    --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    ./install.sh gateway.txt
WORKDIR /app
COPY gateway gateway
COPY model_store/reference.json model_store/
# Its version.
COPY pyproject.toml ./
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash gateway \
    && install -d -o 10001 -g 10001 /state

FROM ${BASE}
LABEL org.opencontainers.image.title="AI product photo detector: gateway" \
      org.opencontainers.image.licenses="MIT"
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_DRIFT_FILE=/var/lib/gateway/drift_window.json
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app ./
# The owner of a volume that is mounted here.
COPY --from=build --chown=10001:10001 /state /var/lib/gateway
# By number, as Kubernetes' runAsNonRoot wants it.
USER 10001:10001
EXPOSE 8080
# Alive, not ready: whoever restarts unhealthy containers must not restart this one while the model loads.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as web; web.build_opener(web.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('GATEWAY_PORT', '8080') + '/healthz', timeout=4)"]
ENTRYPOINT ["python", "-m", "gateway"]
