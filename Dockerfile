# FASA Live in a container: the dashboard with the demo already training.
#
#   docker build -t fasa-live .
#   docker run -p 8501:8501 fasa-live
#
# The address to open, with its token, is printed at the start. Runs are kept in /runs
# (-v fasa:/runs), data of your own is read from /data (-v /path/to/lvis:/data:ro), and with
# --gpus all the GPUs are used. Without a GPU a much smaller image does:
#
#   docker build -t fasa-live --build-arg TORCH_INDEX=URL .    URL: an index of CPU-only torch wheels
#
# It needs to write in /runs and /tmp alone: --read-only --tmpfs /tmp -v fasa:/runs is enough.

FROM debian:bookworm-slim AS python
# tini as process 1 hands signals on from the first moment and reaps what its children leave behind.
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*


FROM python AS dependencies
ENV PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip
RUN python3 -m venv --without-pip /venv
WORKDIR /build
COPY constraints.txt ./
# Of equal versions pip takes the one with a local name, such as +cpu, so this index is preferred.
ARG TORCH_INDEX=
RUN pip --python /venv/bin/python install -c constraints.txt \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch torchvision
COPY pyproject.toml ./
RUN python3 -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        print(*project['dependencies'], sep='\n')" >requirements.txt \
    && pip --python /venv/bin/python install -c constraints.txt -r requirements.txt \
    && pip --python /venv/bin/python install -c constraints.txt --no-deps lvis
# Triton compiles kernels for torch.compile, which nothing here uses; tests, headers and static
# libraries serve who builds or checks the packages.
RUN pip --python /venv/bin/python uninstall -y triton \
    && cd /venv/lib/python3.11/site-packages \
    && find . -depth -type d '(' -name tests -o -name include ')' -exec rm -r {} + \
    && find . -name '*.a' -delete
# Compiled here, as nothing can be written later: without it every process starts twice as slowly.
# Told by contents, not by times, so that equal packages make an equal layer; torch holds a file
# that is for newer Pythons.
RUN echo /fasa >/venv/lib/python3.11/site-packages/fasa.pth \
    && python3 -m compileall -q -j 0 -x '/py312_' --invalidation-mode unchecked-hash /venv/lib
# The large packages in a layer of their own: it stays when another dependency changes.
RUN mkdir /large && cd /venv/lib/python3.11/site-packages \
    && for name in nvidia torch; do if [ -e "$name" ]; then mv "$name" /large; fi; done


FROM dependencies AS package
COPY README.md ./
COPY fasa_core fasa_core
COPY data data
COPY trainer trainer
COPY app app
RUN pip --python /venv/bin/python install --no-build-isolation --no-deps --target /fasa . \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /fasa


FROM python
RUN useradd --uid 1000 --user-group --no-create-home --home-dir /tmp fasa \
    && mkdir /data && install -d -o fasa -g fasa /runs
COPY --from=dependencies /large /venv/lib/python3.11/site-packages
COPY --from=dependencies /venv /venv
COPY --from=package /fasa /fasa
# Caches of matplotlib, numba and others go to /tmp, by way of HOME. What numba compiles is for one
# kind of processor and must be written where it is read, so none of it can come with the image.
ENV PATH=/fasa/bin:/venv/bin:$PATH \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    NUMBA_CACHE_DIR=/tmp/numba \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FASA_RUNS=/runs \
    FASA_DATA=/data \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /fasa
USER 1000:1000
VOLUME /runs
EXPOSE 8501
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/bin/python3", "-I", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
ENTRYPOINT ["tini", "--", "fasa"]
# An engine waits 10 seconds before it kills: the trainers have 7 of them for their checkpoints.
CMD ["up", "--address", "0.0.0.0", "--port", "8501", "--grace", "7"]
