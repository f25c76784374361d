# The toolchain with the packages that the services of python-service need: for nodes that reach no package index.
ARG DEPENDENCIES
ARG TOOLCHAIN


FROM ${DEPENDENCIES} AS wheels

COPY operator/projectsetup/recipes/builtin/python_service/template/workspace/code/requirements-dev.lock ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    /opt/pip/bin/pip download --no-cache-dir --only-binary :all: \
        --require-hashes --requirement requirements-dev.lock --dest /wheels


FROM ${TOOLCHAIN}

COPY --from=wheels /wheels /opt/wheels
ENV UV_FIND_LINKS=/opt/wheels \
    UV_OFFLINE=1
