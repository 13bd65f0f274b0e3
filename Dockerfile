# The lesson in a container. Its steps are those of .devcontainer/steps.
#     docker build -t lesson .
#     docker run --rm -it -p 127.0.0.1:7860:7860 -v lesson-build:/lesson/build lesson
# For a CUDA GPU (its libraries come with torch; the image has the driver's side):
#     docker build --build-arg BASE=nvidia/cuda:13.0.1-base-ubuntu24.04 -t lesson:cuda .
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}
WORKDIR /lesson
COPY .devcontainer/steps /lesson/.devcontainer/steps
RUN /lesson/.devcontainer/steps packages
# What setup alone needs, so that a change elsewhere does not install 7 GB again.
COPY requirements.lock /lesson/
COPY recipe/__init__.py recipe/setup.py /lesson/recipe/
COPY lesson/__init__.py /lesson/lesson/
COPY lesson/core /lesson/lesson/core
COPY lesson/install/__init__.py lesson/install/setup.py /lesson/lesson/install/
RUN /lesson/.devcontainer/steps install
COPY . /lesson
USER 1000
VOLUME /lesson/build
EXPOSE 7860 8000
ENTRYPOINT ["/lesson/.devcontainer/steps", "run"]
