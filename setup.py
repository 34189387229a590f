"""The build: CMake makes the extension module, setuptools takes the Python packages; the rest is in pyproject.toml."""

from setuptools import find_packages, setup

# python/saccade/engine is a link to engine/, so that one plain package_dir serves the wheel, the editable install (a
# single path entry) and static tools such as pyright, none of which follow a renaming {"saccade.engine": "engine"}.
setup(
    packages=find_packages("python"),
    package_dir={"": "python"},
    cmake_source_dir=".",
)
