#!/usr/bin/env bash
# Stand-ins for the public base images, for tests where no registry is reachable: Debian packages and `lipsync fetch tritonserver`.
#   build.sh CACHE        CACHE keeps the Debian trees (650 MB); remove it and the images for newer packages; the engine is that of DOCKER_HOST
# standin.env names them to docker compose: `docker compose --env-file deploy/standin/standin.env ...`
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=$1
lipsync=${LIPSYNC:-$root/.venv/bin/lipsync}
mkdir -p "$cache"
scratch=$(mktemp -d "$cache/build-XXXXXX")
trap 'rm -rf "$scratch"' EXIT

tree() { # NAME SUITE PACKAGES [OPTION...]: a Debian tree as a tar file, made once
  [ -f "$cache/$1.tar" ] && return
  mmdebstrap --quiet --variant=minbase --include="$3" "${@:4}" "$2" "$scratch/$1.tar"
  mv "$scratch/$1.tar" "$cache/$1.tar"
}

imported() { # IMAGE TREE [CHANGE...]: once, since another base means that everything on it is built anew
  local name=$1 tree=$2
  shift 2
  docker image inspect "$name" >/dev/null 2>&1 || docker import "${@/#/--change=}" "$cache/$tree.tar" "$name" >/dev/null
}

image() { # NAME FOLDER: build FOLDER's Dockerfile in the context $scratch/FOLDER
  cp "$here/$2/Dockerfile" "$scratch/$2/"
  docker build --quiet --network host --tag "$1" "$scratch/$2" >/dev/null
}

tree bookworm bookworm ca-certificates,curl,libpython3.11,python3,python3-pip,python3-venv
# As in the public images, nobody owns the folders that volumes begin as.
tree servers trixie ca-certificates,haproxy,prometheus,prometheus-alertmanager,wget \
  --customize-hook='install -d -o 65534 -g 65534 "$1/prometheus" "$1/alertmanager"'
imported localhost/standin/debian:bookworm bookworm

mkdir -p "$scratch/python"
cp /etc/ssl/certs/ca-certificates.crt "$scratch/python/"
image localhost/standin/python:3.11 python

# The server's files for Debian 12's Python 3.11, in the folders of NVIDIA's container.
mkdir -p "$scratch/triton/tritonserver/backends"
found=$("$(dirname "$lipsync")/python" -c 'from orchestrator.core.downloads import tritonserver; print(tritonserver())')
cp -a "$found/pytriton/tritonserver/bin" "$found/pytriton/tritonserver/backends" "$scratch/triton/tritonserver/"
cp -a "$found/nvidia_pytriton.libs" "$scratch/triton/tritonserver/lib"
cp "$found/pytriton/tritonserver/python_backend_stubs/3.11/triton_python_backend_stub" "$scratch/triton/tritonserver/backends/python/"
cp -r "$root/orchestrator/inference/backend/onnxruntime" "$scratch/triton/tritonserver/backends/"
chmod -R a+rX,u+w "$scratch/triton"
chmod 755 "$scratch"/triton/tritonserver/backends/python/*
image localhost/standin/tritonserver:2.51 triton

imported localhost/standin/haproxy:3.0 servers \
  'USER haproxy' 'CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]'
imported localhost/standin/prometheus:2.53 servers 'USER nobody' 'ENTRYPOINT ["prometheus"]'
imported localhost/standin/alertmanager:0.28 servers 'USER nobody' 'ENTRYPOINT ["prometheus-alertmanager"]'
