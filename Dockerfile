# Sentinel as an image: an official Python and one file.
#
#   docker build -t sentinel .
#   docker run -d --name sentinel --restart unless-stopped --read-only --cap-drop ALL \
#     --user "65532:$(stat -L -c %g /var/run/docker.sock)" -v /var/run/docker.sock:/var/run/docker.sock \
#     -v sentinel-state:/var/lib/sentinel -e DISCORD_WEBHOOK_URL='https://discord.com/api/webhooks/…' sentinel
#
# Any base with Python 3.11 or newer will do: --build-arg BASE=python:3.13-slim-bookworm
ARG BASE=python:3.13-alpine3.22
FROM ${BASE}

# The version is in sentinel.py; whoever releases an image tells it here, and the commit and its time.
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="Sentinel" \
      org.opencontainers.image.description="Watches containers, tells Discord when one dies, brings it back" \
      org.opencontainers.image.source="https://github.com/sentinel-watchdog/sentinel" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

COPY sentinel.py /sentinel.py
# The ledger's folder: a new volume that is mounted there takes its owner from it. The file's mode is that of the
# checkout, which may be for its owner only (COPY --chmod is for BuildKit alone).
# A script is compiled at each start, and what that took is kept for as long as it runs; what is compiled here is not.
# A change of mode is a second copy of it in the image, so it is made only where it is one.
RUN install -d -o 65532 -g 65532 -m 0700 /var/lib/sentinel && \
    { [ "$(stat -c %a /sentinel.py)" = 644 ] || chmod 0644 /sentinel.py; } && \
    python3 -c "import py_compile; py_compile.compile('/sentinel.py', '/sentinel.pyc', doraise=True)"

# Not root, and a number, so that Kubernetes and others can see that. The socket belongs to root and to a group
# whose number differs from host to host: give it with --user 65532:GID or --group-add GID, where GID is what
# `stat -L -c %g /var/run/docker.sock` prints (0 on Docker Desktop and for a rootless engine).
USER 65532:65532
# SQLite's temporary files, should it ever need any, find a place here although the rest is read-only.
WORKDIR /var/lib/sentinel
ENV SENTINEL_STATE=/var/lib/sentinel
VOLUME /var/lib/sentinel

# No shell in between: Python is process 1 and gets the signal itself. It ends within two seconds.
STOPSIGNAL SIGTERM
ENTRYPOINT ["python3", "/sentinel.py"]

# Fails when Sentinel makes no progress, not only when it is gone. To compile the script each time would cost more than
# all else that Sentinel does.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["python3", "/sentinel.pyc", "health"]
