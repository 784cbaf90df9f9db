"""Import every module of an installed finattn; argument: the repository, from which none may come."""

import importlib
import pkgutil
import sys
from importlib import metadata, resources
from pathlib import Path

import finattn

home, root = Path(finattn.__file__).resolve(), Path(sys.argv[1]).resolve()
assert root not in home.parents, f"finattn is imported from the repository, {home}"
assert metadata.version("finattn") == finattn.__version__
names = [module.name for module in pkgutil.walk_packages(finattn.__path__, "finattn.")]
for name in names:
    importlib.import_module(name)
for name in finattn.__all__:
    getattr(finattn, name)
here, there = ({file.relative_to(top).as_posix() for file in top.rglob("*") if file.is_file() and "__pycache__" not in
                file.parts} for top in (Path(str(resources.files("finattn"))), root / "finattn"))  # fmt: skip
assert here == there, f"files differ from the repository's: {sorted(here ^ there)}"
print(f"{len(names)} modules imported, {len(here)} files as in the repository")
