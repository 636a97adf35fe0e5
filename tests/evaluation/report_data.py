"""Made-up results for the tests of the report: seeded random numbers in the form of results.json."""

import hashlib

import numpy as np

from facemend.evaluation.reports.published import PublishedTable
from facemend.evaluation.reports.report import Sheet
from facemend.imaging import Picture

SPECS = {
    "psnr": ("PSNR", True, "dB", 21.0),
    "ssim": ("SSIM", True, "", 0.62),
    "ms_ssim": ("MS-SSIM", True, "", 0.71),
    "lpips": ("LPIPS-Alex", False, "", 0.42),
    "lpips_vgg": ("LPIPS-VGG", False, "", 0.47),
    "dists": ("DISTS", False, "", 0.23),
    "ids": ("IDS", True, "", 0.78),
    "ids_degrees": ("Angle", False, "°", 38.0),
    "lmd": ("LMD", False, "px", 2.6),
    "niqe": ("NIQE", False, "", 6.2),
}
GROUPS = {
    "kind": ("real", "synthetic"),
    "pose": ("frontal", "turned"),
    "source": ("london_neutral", "interfaces_cc0", "sfhq_tiles", "t2i_tiles"),
    "strength": ("mild", "middle", "strong"),
}


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def make_results(
    seed=0,
    n=60,
    ws=(0.0, 0.25, 0.5, 0.75, 1.0),
    models=("compact-256",),
    peers=("bicubic", "unsharp", "realesrgan-x2"),
    keys=tuple(SPECS),
):
    """A run over `n` pictures; keys=("niqe",) is a run without reference."""
    rng = np.random.default_rng(seed)
    paired = keys != ("niqe",)
    hard = rng.normal(0, 1, n)
    inputs = [
        {
            "name": f"face-{i:03d}.webp",
            "hq": sha(f"hq{i}") if paired else None,
            "lq": sha(f"lq{i}"),
            "plan": None,
            "labels": {group: str(rng.choice(names)) for group, names in GROUPS.items()},
        }
        for i in range(n)
    ]

    def method(name, kind, gain, model=None, w=None):
        values, means, slices = {}, {}, {}
        for key in keys:
            _, higher, _, level = SPECS[key]
            pull = gain[key] if isinstance(gain, dict) else gain
            sign = 1 if higher else -1
            spread = 0.08 * level * (0.7 * hard * -sign + 0.5 * rng.normal(0, 1, n))
            values[key] = [float(v) for v in level * (1 + sign * 0.22 * pull) + spread]
            means[key] = interval(values[key])
        for group, names in GROUPS.items():
            for part in names:
                chosen = [i for i in range(n) if inputs[i]["labels"][group] == part]
                slices.setdefault(group, {})[part] = {
                    key: interval([values[key][i] for i in chosen]) for key in keys if chosen
                }
        weights = {"encode.onnx": sha("encode"), "decode.onnx": sha("decode")} if model else {}
        return {
            "name": name, "kind": kind, "model": model, "w": w, "weights": weights, "note": "",
            "values": values, "means": means, "slices": slices,
        }  # fmt: skip

    methods = [method("input", "input", 0.0)]
    for peer, gain in zip(peers, (0.04, -0.35, 0.3, 0.2, 0.1), strict=False):
        methods.append(method(peer, "peer", gain))
    for number, model in enumerate(models):
        for w in ws:
            gain = dict.fromkeys(keys, 0.8 - 0.2 * number - 0.25 * w**2)
            gain |= {"ids": -0.2 + 0.55 * w - 0.1 * number, "ids_degrees": -0.2 + 0.55 * w}
            gain |= {"psnr": 0.05 + 0.2 * w, "ssim": 0.1 + 0.2 * w, "niqe": 1.2 - 0.3 * w}
            methods.append(method(f"{model} w={w:g}", "model", gain, model, w))
    return {
        "schema": 1,
        "facemend": "0.1.0",
        "title": "facemend-small",
        "protocol": {
            "name": "facemend-small",
            "kind": "full-reference" if paired else "no-reference",
            "size": 256,
            "crop": "whole aligned face",
            "degradation": "heavy" if paired else None,
            "seed": 0 if paired else None,
            "notes": ["Every face is degraded once; every method gets the same picture."],
            "command": "facemend evaluate --protocol facemend-small --model compact-256 faces/test",
        },
        "versions": {"python": "3.11.7", "torch": "2.11.0", "onnxruntime": "1.23.0"},
        "weights": {"LPIPS AlexNet": sha("alex"), "dlib ResNet": sha("dlib")} if paired else {},
        "metrics": {key: spec(key, *SPECS[key]) for key in keys},
        "inputs": inputs,
        "methods": methods,
    }


def spec(key, label, higher, unit, level):
    return {
        "label": label, "higher_is_better": higher, "unit": unit, "network": f"{key} net",
        "range": "0 to about 1", "colour": "RGB", "crop": "whole picture",
        "explain": f"{label} compares two pictures. It was made up for the tests of the {key} column.",
    }  # fmt: skip


def interval(values):
    mean, half = float(np.mean(values)), 1.96 * float(np.std(values)) / len(values) ** 0.5
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": len(values)}


def make_speed():
    return {
        "device": "a made-up processor",
        "cores": 2,
        "rows": [
            {
                "name": "compact-256", "parameters": 14_480_000, "gflop": 16.6,
                "ms": {"1": 106.0, "4": 98.25, "16": 95.5},
                "faces_per_s": {"1": 9.43, "4": 10.18, "16": 10.47},
                "decode_ms": 57.0, "peak_mb": 363.0,
            },
            {
                "name": "realesrgan-x2", "parameters": None, "gflop": None,
                "ms": {"1": 2404.0}, "faces_per_s": {"1": 0.416}, "decode_ms": None, "peak_mb": None,
            },
        ],
    }  # fmt: skip


def make_published():
    rows = (("Alpha (1999)", (0.3412, 4.5157, None)), ("Beta", (0.3365, 3.884, 61.25)))
    return [
        PublishedTable(
            id="made-up",
            title="Made-up Table 1",
            source="no paper at all",
            protocols=(),
            metrics=("LPIPS", "NIQE", "MUSIQ"),
            better=("low", "low", "high"),
            rows=rows,
            warnings=("Its test set is another one.", "FID is against <another> set."),
        )
    ]


def make_sheets():
    rng = np.random.default_rng(1)
    small = rng.integers(0, 255, (6, 30, 3), dtype=np.uint8)
    pixels = np.kron(small, np.ones((50, 50, 1), dtype=np.uint8))
    return [
        Sheet(
            "Best faces",
            "Left to right: input, bicubic, compact-256 at w = 0.5, the clean face.",
            Picture(pixels),
        )
    ]
