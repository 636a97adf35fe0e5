# facemend serve, without torch; docs/container.md says how it is run. With films and HEIC:
# docker build --build-arg EXTRAS=serve,video,heif --tag facemend .
FROM python:3.13-slim-trixie AS build
ARG EXTRAS=serve
WORKDIR /src
COPY . .
# Compiled now, since nobody can write beside the modules later.
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1
RUN scripts/environment /opt/facemend ".[$EXTRAS]"

FROM python:3.13-slim-trixie
COPY --from=build /opt/facemend /opt/facemend
# A user that owns nothing but /store, for --store; by number, so that a cluster can see that it is not root.
RUN install --directory --owner 10001 --group 10001 --mode 0700 /store
ENV PATH=/opt/facemend/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 FACEMEND_HOST=0.0.0.0 FACEMEND_PORT=8000
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-c", \
  "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['FACEMEND_PORT'] + '/api/health', timeout=9)"]
ENTRYPOINT ["facemend"]
CMD ["serve"]
