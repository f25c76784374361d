FROM python:3.13-slim-trixie AS build

WORKDIR /build
RUN python -m venv --without-pip /opt/projectsetup
COPY requirements-runtime.lock ./
RUN pip --python /opt/projectsetup/bin/python install --no-cache-dir --only-binary :all: \
        --require-hashes --requirement requirements-runtime.lock

COPY pyproject.toml README.md requirements.lock ./
COPY operator operator
RUN /opt/projectsetup/bin/uv build --no-cache --wheel --out-dir dist \
        --require-hashes --build-constraints requirements.lock . \
    && pip --python /opt/projectsetup/bin/python install --no-cache-dir --no-deps dist/*.whl


FROM python:3.13-slim-trixie

# tini is process 1: should the supervisor of the steps be killed, somebody has to collect what it leaves.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git openssh-client tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 65532 projectsetup \
    && useradd --uid 65532 --gid 65532 --no-log-init --create-home --shell /usr/sbin/nologin projectsetup

COPY --from=build /opt/projectsetup /opt/projectsetup

ENV PATH=/opt/projectsetup/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1

USER 65532:65532
WORKDIR /
EXPOSE 8080
ENTRYPOINT ["tini", "--", "projectsetup"]
CMD ["operator"]
