"""CodeFormer: encoder, code transformer, codebook, decoder and CFT put together (arXiv 2206.11253)."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from facemend.networks.codeformer.autoencoder import Decoder, Encoder
from facemend.networks.codeformer.config import CodeFormerConfig
from facemend.networks.codeformer.diagnosis import DiagnosisHead
from facemend.networks.codeformer.fusion import FeatureTransform, PhotoBands, adaptive_instance_norm
from facemend.networks.codeformer.scales import codebook_of, look_up
from facemend.networks.codeformer.transformer import CodeTransformer


@dataclass(frozen=True)
class Encoded:
    """What is known of an LQ face before w matters: keep it, and every other w costs a decode only.

    Attributes:
        codes: (B, T) int64, the most likely codes: scale after scale (coarse to fine), row by row, those of a
            position side by side.
        logits: (B, T, codebook_size).
        z: (B, code_dim, g, g) encoder output.
        features: encoder taps by grid side, (B, C, S, S), for the fused sizes; with `bands`, the LQ face
            itself under its own side.
        fine: latents of the scales finer than z, (B, code_dim, side, side) by side; not needed to decode.
        diagnosis: (B, `Diagnosis.COUNT`) of the head, where there is one; not needed to decode.
    """

    codes: Tensor
    logits: Tensor
    z: Tensor
    features: dict[int, Tensor]
    fine: dict[int, Tensor] = field(default_factory=dict)
    diagnosis: Tensor | None = None


class CodeFormer(nn.Module):
    """LQ face -> codes -> restored face with fidelity weight w.

    Sizes come from the config; `encode` and `decode` are the two halves, `forward` is both.
    """

    def __init__(self, config: CodeFormerConfig) -> None:
        super().__init__()
        self.config = config
        autoencoder = config.autoencoder
        self.encoder = Encoder(autoencoder)
        self.transformer = CodeTransformer(config)
        self.codebook = codebook_of(autoencoder)
        self.decoder = Decoder(autoencoder)
        self.fusion = nn.ModuleDict(
            {
                str(size): FeatureTransform(
                    autoencoder.width_at(size), autoencoder.norm_groups, config.fuse_hidden
                )
                for size in config.fuse_sizes
            }
        )
        self.bands = None
        if config.bands:
            channels = sum(autoencoder.width_at(size) for size in config.fuse_sizes)
            self.bands = PhotoBands(channels, config.bands, autoencoder.code_grid)
        self.diagnosis = DiagnosisHead(autoencoder, config.diagnosis) if config.diagnosis else None

    def encode(self, image: Tensor) -> Encoded:
        """Predict the codes of LQ faces, (B, 3, S, S) RGB in [-1, 1]."""
        z, taps = self.encoder(image)
        fine = self.encoder.fine_latents(taps)
        logits = self.transformer(z, fine)
        features = {size: taps[size] for size in self.config.fuse_sizes}
        if self.bands is not None:
            features[image.shape[-1]] = image
        said = self.diagnosis(taps, z, logits) if self.diagnosis is not None else None
        return Encoded(
            codes=logits.argmax(2), logits=logits, z=z, features=features, fine=fine, diagnosis=said
        )

    def decode(
        self, codes: Tensor, features: dict[int, Tensor], w: Tensor, style: Tensor | None = None
    ) -> Tensor:
        """Decode codes with the encoder features, and the codes of finer scales than z, let in by w.

        Args:
            codes: (B, T) int64 code indices, as in `Encoded`.
            features: what `encode` kept.
            w: (B,) fidelity weight, 0 = quality, 1 = fidelity; a tensor, never branched on.
            style: (B, code_dim, g, g) encoder output for AdaIN (restoration at inference), or None
                (training and inpainting). Codes of finer scales than z are taken as they are.

        Returns:
            (B, 3, S, S) RGB, about [-1, 1], not clamped.
        """
        # Codes are indices: no gradient flows through them, and the codebook is frozen in stages II and III.
        vectors, fine = look_up(self.codebook, self.config.autoencoder, codes)
        if style is not None:
            vectors = adaptive_instance_norm(vectors, style)

        def fuse(size: int, decoder: Tensor) -> Tensor:
            if size not in features:
                return decoder
            out: Tensor = self.fusion[str(size)](features[size], decoder, w)
            return out

        image: Tensor = self.decoder(vectors, fuse, fine, w)
        if self.bands is not None:
            taps = {size: features[size] for size in self.config.fuse_sizes}
            photo = features[self.config.autoencoder.image_size]
            image = self.bands(image, photo, self.bands.gates(taps), w)
        return image

    def forward(self, image: Tensor, w: Tensor, adain: bool = True) -> Tensor:
        """Restore LQ faces (B, 3, S, S) RGB in [-1, 1] with one w each, (B,)."""
        encoded = self.encode(image)
        return self.decode(encoded.codes, encoded.features, w, encoded.z if adain else None)
