"""A fresh interpreter imports and restores without torch; the rooms import one way only."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SLOW = "{'numpy', 'cv2', 'onnxruntime', 'PIL'}"
HEAVY = "{'torch', 'safetensors', 'tensorboard'}"


def fresh(code: str) -> str:
    """Run code in a fresh interpreter; what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_facemend_loads_nothing_heavy():
    code = f"import facemend, sys; print(sorted(sys.modules.keys() & ({HEAVY} | {SLOW})))"
    assert fresh(code).strip() == "[]"


def test_restoring_with_the_default_model_loads_no_torch(tmp_path):
    code = f"""
import sys
from pathlib import Path
import facemend
from facemend.weights.catalog import assets_folder
out = facemend.restore(assets_folder() / "demo/portrait.jpg", out=Path({str(tmp_path / "out.png")!r}))
assert out.is_file()
print("loaded", sorted(sys.modules.keys() & {HEAVY}))
"""
    assert fresh(code).strip().endswith("loaded []")


def test_rooms_import_one_way():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout


def test_light_rooms_load_no_torch():
    code = f"""
import sys, pkgutil, importlib
import facemend
rooms = "errors types files charts imaging faces weights degradations runtime predictors photo folder video"
for room in rooms.split():
    module = importlib.import_module("facemend." + room)
    for inner in pkgutil.walk_packages(getattr(module, "__path__", []), module.__name__ + "."):
        if inner.name != "facemend.runtime.torch_runner":
            importlib.import_module(inner.name)
print("loaded", sorted(sys.modules.keys() & {HEAVY}))
"""
    assert fresh(code).strip().endswith("loaded []")
