# Everything of Transship in one image: the orchestrator, the agents, the command line, and what set them up.
# The base is a Debian; another one (a mirror's, a pinned digest) is given with --build-arg BASE=...
ARG BASE=debian:12.11-slim
FROM ${BASE}

# One layer: ./transship has the one list of packages, installs what is missing and builds the C library.
# Afterwards what only downloading and the tests needed is taken out again.
RUN --mount=type=bind,target=/context \
    cp -r /context /opt/transship \
    && cd /opt/transship \
    && TMPDIR=/tmp ./transship --help >/dev/null \
    && .venv/bin/python -m pip uninstall --yes --quiet playwright mypy ruff \
    && .venv/bin/python -m compileall -q agents benchmarks dashboards orchestrator topologies \
    && apt-get clean && rm -rf /var/lib/apt/lists/* /root/.cache

STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/transship/orchestrator/container/entry"]
CMD ["up"]
