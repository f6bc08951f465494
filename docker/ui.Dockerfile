# The page, a client of the gateway.
ARG BASE=docker.io/library/python:3.11-slim@sha256:db3ff2e1800a8581e2c48a27c3995339d47bdf046da21c7627accd3d51053a93

FROM ${BASE} AS build
WORKDIR /build
COPY docker/install.sh requirements/uv.txt requirements/ui.txt ./
# The secrets are optional: pip's and uv's settings for a mirror of the package index, and its certificates.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=uv_toml,target=/etc/uv/uv.toml \
    --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    ./install.sh ui.txt
WORKDIR /app
COPY gateway/__init__.py gateway/schemas.py gateway/
COPY gateway/client gateway/client
COPY ui ui
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash gateway ui

FROM ${BASE}
LABEL org.opencontainers.image.title="AI product photo detector: page" \
      org.opencontainers.image.licenses="MIT"
# Uploads lie in a private folder below UI_PHOTO_FOLDER, which goes with the process; they fit into its 512 MB in memory.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    HOME=/tmp \
    LOGNAME=page \
    UI_HOST=0.0.0.0 \
    UI_PHOTO_FOLDER=/tmp \
    UI_PHOTOS_MAX_BYTES=469762048
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app ./
USER 10001:10001
EXPOSE 7860
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as web; web.build_opener(web.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('UI_PORT', '7860') + '/', timeout=4)"]
ENTRYPOINT ["python", "-m", "ui"]
