"""The three stages of training and the export, tiny: python train_tiny.py FACES RUNS [minutes a stage].

FACES is a folder of aligned square faces, as `facemend data prepare PHOTOS -o FACES` makes it; 30 are enough
to see it work. Needs `pip install ".[train,export]"` and a clone of the repository, for its configs.
"""

import sys
from pathlib import Path

from facemend.convert.export import ExportOptions, export_model
from facemend.convert.quiet import quiet
from facemend.training import stage1_autoencoder, stage2_codes, stage3_fusion
from facemend.training.config import load_config

faces, runs = Path(sys.argv[1]), Path(sys.argv[2])
minutes = float(sys.argv[3]) if len(sys.argv) > 3 else 2.0
configs = Path(__file__).parents[1] / "configs"

stage1, stage2 = (f"{stage}={runs}/{stage}/model.safetensors" for stage in ("stage1", "stage2"))
after_stage1 = [stage1, "min_psnr=0"]  # so little training reconstructs badly
after_stage2 = [*after_stage1, stage2, f"discriminator={runs}/stage1/discriminator.safetensors"]

for stage, train, settings in (
    ("stage1", stage1_autoencoder.train, []),  # encoder, codebook, decoder
    ("stage2", stage2_codes.train, after_stage1),  # which codes a damaged face stands for
    ("stage3", stage3_fusion.train, after_stage2),  # what w lets in
):
    own = [f"out={runs}/{stage}", f"minutes={minutes}", *settings]
    made = train(
        load_config(configs / f"tiny-{stage}.toml", own, faces),
        lambda step: print(f"\r{step.step} of {step.steps}", end=""),
    )
    print(f"\r{made}")

options = ExportOptions("my-model", precision="fp32", description="a test")
with quiet():  # torch tells much while it exports
    export_model(made, runs / "my-model", options)
print(f'facemend restore old.jpg -o new.jpg --model "{runs / "my-model"}"')
