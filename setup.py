"""Build and install ganeti_gluster: `lib/` is the package, `constants/` within it."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE = "ganeti_gluster"
#: Read by every Python process of the system, hence at the top of site-packages.
PTH = "ganeti-gluster.pth"


def read_version() -> str:
    """Return `__version__` of lib/__init__.py without importing it."""
    tree = ast.parse((ROOT / "lib" / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == ("__version__"):
            return str(ast.literal_eval(node.value))
    raise SystemExit("lib/__init__.py: no __version__")


def packages_below(package: str, folder: str) -> list[str]:
    """Name every package in `folder`, itself included, as it is imported."""
    if not (ROOT / folder / "__init__.py").exists():
        return []
    below = find_packages(str(ROOT / folder))
    return [package, *("%s.%s" % (package, name) for name in below)]


class BuildPy(build_py):
    """Build afresh, and put the .pth file where site looks for it."""

    def run(self) -> None:
        # A module deleted from the source must not come back from the last build.
        shutil.rmtree(Path(self.build_lib) / PACKAGE, ignore_errors=True)
        super().run()
        self.mkpath(self.build_lib)
        self.copy_file(str(ROOT / "lib" / PTH), str(Path(self.build_lib) / PTH))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs = super().get_outputs(include_bytecode)
        return [*outputs, str(Path(self.build_lib) / PTH)]


setup(
    name="ganeti-gluster",
    version=read_version(),
    description="GlusterFS as first-class virtual machine storage in Ganeti",
    license="BSD-2-Clause",
    author="the ganeti-gluster authors",
    python_requires=">=3.11",
    install_requires=["gfapi==1.2", "pyparsing", "zstandard"],
    package_dir={PACKAGE: "lib", PACKAGE + ".constants": "constants"},
    packages=[
        *packages_below(PACKAGE, "lib"),
        *packages_below(PACKAGE + ".constants", "constants"),
    ],
    package_data={PACKAGE + ".web": ["templates/*", "static/*"]},
    extras_require={"web": ["flask", "cheroot"]},
    scripts=["lib/gnt-gluster"],
    cmdclass={"build_py": BuildPy},
    zip_safe=False,
)
