"""Machine code from LLVM IR, kept on disk by content.

An entry is one file: a line of facts, then the object code, sealed by a hash. Writers make a file
of their own and rename it, so readers never see half of one; what does not fit its seal is built
again. The folder is ``GALENIC_CACHE`` or the cache folder of the platform.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

_build = Lock()
_MAGIC = b"galenic kernel 1\n"
_LIBRARIES = {"win32": "ucrtbase", "darwin": "libm.dylib"}  # mathematics


@dataclass(frozen=True)
class Machine:
    """The processor that code is made for."""

    triple: str
    cpu: str
    features: str
    llvm: str

    @property
    def lanes(self) -> int:
        """Doubles in the widest vector register."""
        enabled = set(self.features.split(","))
        return 8 if "+avx512f" in enabled else 4

    @property
    def identity(self) -> str:
        """All that machine code depends on, as text."""
        return f"{self.triple}|{self.cpu}|{self.features}|{self.llvm}"


@lru_cache(maxsize=1)
def this_machine() -> Machine:
    """The processor of this computer."""
    import llvmlite
    import llvmlite.binding as llvm

    _initialise()
    features = llvm.get_host_cpu_features()
    version = f"{llvmlite.__version__}/{'.'.join(map(str, llvm.llvm_version_info))}"
    return Machine(llvm.get_process_triple(), llvm.get_host_cpu_name(), features.flatten(), version)


class Code:
    """Loaded machine code; keeps it alive as long as it is referred to."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.address = int(engine.get_function_address("run"))


def compile_ir(text: str) -> bytes:
    """Object code of a module."""
    import llvmlite.binding as llvm

    _initialise()
    machine = _target_machine()
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    with _in_order():
        return bytes(machine.emit_object(module))


@contextlib.contextmanager
def _in_order() -> Iterator[None]:
    """Keep the order in which operations were written.

    LLVM's scheduler moves the loads of a long straight line forward and spills them: 1.4 times
    the cycles. Its switch is one of the process, so it is set for the time of one call.
    """
    import llvmlite.binding as llvm

    with _build:
        llvm.set_option("", "-enable-misched=false")
        try:
            yield
        finally:
            llvm.set_option("", "-enable-misched=true")


def load(code: bytes) -> Code:
    """Object code made callable in this process."""
    import llvmlite.binding as llvm

    _initialise()
    with _build:
        _name_library()
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return Code(engine)


def folder() -> Path:
    """Where machine code is kept."""
    chosen = os.environ.get("GALENIC_CACHE")
    if chosen:
        return Path(chosen) / "kernels"
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "galenic" / "kernels"


def recall(key: str) -> tuple[str, bytes] | None:
    """Facts and object code kept under a key, or None where there is no sound entry."""
    try:
        data = (folder() / f"{key}.kernel").read_bytes()
    except OSError:
        return None
    head = len(_MAGIC)
    seal, body = data[head : head + 64], data[head + 64 :]
    if data[:head] != _MAGIC or hashlib.sha256(body).hexdigest().encode() != seal:
        return None
    facts, _, code = body.partition(b"\n")
    return facts.decode(), code


def remember(key: str, facts: str, code: bytes) -> bool:
    """Keep facts (one line) and object code under a key; False where the disk refuses."""
    body = facts.encode() + b"\n" + code
    data = _MAGIC + hashlib.sha256(body).hexdigest().encode() + body
    place = folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place, suffix=".part")
    except OSError:
        return False
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(place / f"{key}.kernel")
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        return False
    return True


@lru_cache(maxsize=1)
def generator() -> str:
    """A hash of the sources that write kernels: other sources, other machine code."""
    here = Path(__file__).parent
    files = [*sorted(here.glob("*.py")), here.parent / "tape.py"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


@lru_cache(maxsize=1)
def _initialise() -> None:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def _target_machine() -> Any:
    import llvmlite.binding as llvm

    machine = this_machine()
    target = llvm.Target.from_triple(machine.triple)
    return target.create_target_machine(cpu=machine.cpu, features=machine.features, opt=2, jit=True)


@lru_cache(maxsize=1)
def _name_library() -> None:
    """Tell LLVM where the functions of the mathematics library are."""
    import ctypes

    import llvmlite.binding as llvm

    from galenic.engine.native.elementary import LIBM

    try:
        library = ctypes.CDLL(_LIBRARIES.get(sys.platform, "libm.so.6"))
    except OSError:  # looking for it starts another program
        from ctypes.util import find_library

        library = ctypes.CDLL(find_library("m"))
    for function in LIBM:
        pointer = ctypes.cast(getattr(library, function), ctypes.c_void_p)
        llvm.add_symbol(function, pointer.value)
