"""Write the bytes of the page's sums over pixels into simd.js: to be run after a change of simd.wat."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import wasmtime

IMAGING = Path(__file__).parents[1] / "src/facemend/web/package/imaging"


def written(program: str, module: str) -> str:
    """A module (text of simd.js) with a program (text of simd.wat) as its bytes."""
    code = base64.b64encode(wasmtime.wat2wasm(program)).decode()
    lines = "\n".join(f'  "{code[at : at + 120]}" +' for at in range(0, len(code), 120)).removesuffix(" +")
    return re.sub(r"(?s)(?<=const PROGRAM =\n).*?(?=;\n)", lines, module, count=1)


if __name__ == "__main__":
    path = IMAGING / "simd.js"
    module = path.read_text(encoding="utf-8")
    path.write_text(written((IMAGING / "simd.wat").read_text(encoding="utf-8"), module), "utf-8")
