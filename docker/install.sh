#!/bin/sh
# Install a hashed lock into /opt/venv with uv: install.sh LOCK [TORCH_BACKEND]
set -eu
lock=$1
backend=${2:-}

# Over what pip and uv already trust: certificates that a build secret may have put here.
export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt UV_SYSTEM_CERTS=true
python3 -m venv /opt/uv
/opt/uv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes -r uv.txt
python3 -m venv --without-pip /opt/venv

install() {
    /opt/uv/bin/uv pip install --python /opt/venv/bin/python --link-mode copy --compile-bytecode "$@"
}

# A lock is whole: what it leaves out (see override-dependencies in pyproject.toml) is not to be had by resolving anew.
install_lock() {
    install --no-deps --require-hashes -r "$1"
}

if [ -z "$backend" ]; then
    install_lock "$lock"
else
    # The lock holds the hashes of PyPI's builds, so torch alone is taken from the backend's own index: by the hashes of
    # its own lock (`make lock-torch`), else by version.
    awk '/^[a-z]/ {keep = !/^(torch|torchvision|triton|nvidia-|cuda-)/ || /^torch(-model-archiver|metrics|serve)/} keep' \
        "$lock" > without-torch.txt
    install_lock without-torch.txt
    if [ -f "torch-$backend.txt" ]; then
        install --torch-backend "$backend" --no-deps --require-hashes -r "torch-$backend.txt"
        exit
    fi
    # shellcheck disable=SC2046  # two words are meant
    install --torch-backend "$backend" $(grep -oE '^torch(vision)?==[0-9.]+' "$lock")
fi
