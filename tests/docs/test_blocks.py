"""Every block of code in the documentation does what it says, as far as it can here.

Lines with `facemend` are run, each by itself, in a folder that has the files they name. Those that need what
is not here (below, with the reason) are read by the real command, as all are, in tests/cli.
"""

import re
import shlex
import shutil
import tomllib

import pytest
from pages import ROOT, blocks
from typer.testing import CliRunner

from facemend.cli.app import app

NOT_HERE = {
    r"facemend (train|evaluate|export|quantize|bench)\b": "minutes to hours, or what these have made",
    r"facemend (video|serve|watch)\b|anim\.gif|[<>|]": "run in tests/video, tests/server and tests/cli",
    r"--install-completion": "changes the shell of who runs it",
    r"facemend (colorize|inpaint)\b|--model|models (import|remove)": "weights of others",
    r"facemend web\b": "asks npm; run in tests/web",
    r"(models|assets) get|realesrgan|--url": "fetched from the network",
    r"--engine ray|RAY_ADDRESS|s3://": "a cluster",
    r"--device (cuda|mps)|--backend torch": "a card",
}
CHECKED_ELSEWHERE = "|".join(
    (
        r"(torchrun .* -m )?facemend .+",
        r"pip (un)?install .+",
        r"(job=\$\(|until )?curl .+",
        r"\w+=\S+",
        r"docker .+",
        r"python -m http.server .+",
    )
)
"""Other lines: of facemend they are read in tests/cli, of pip in tests/contracts, of curl in tests/server."""


def lines():
    for block in blocks("bash"):
        for line in block.code.replace("\\\n", " ").splitlines():
            told = re.sub(r"(^| +)# .*", "", line).strip().removeprefix("export ")
            if told:
                yield pytest.param(told, id=f"{block}: {told}")


LINES = list(lines())
SAME = {case.values[0]: case for case in reversed(LINES) if re.match("facemend ", case.values[0])}
RUN = [case for line, case in SAME.items() if not any(re.search(reason, line) for reason in NOT_HERE)]


def test_every_block_is_of_a_kind_that_is_tested():
    tested = {"bash", "python", "toml", "help"}
    shown = {
        "text": "a drawing",
        "nginx": "of another program",
        "js": "run in tests/web",
        "": "lines of a log",
    }
    assert {block.language for block in blocks()} <= tested | shown.keys()
    assert len(RUN) > 20


@pytest.mark.parametrize("line", RUN)
def test_commands_run(line, yard):
    said = CliRunner().invoke(app, shlex.split(line)[1:])
    assert said.exit_code == 0, said.output


OTHER = [case for case in LINES if not re.fullmatch(rf"([A-Z_]+=\S+ )*({CHECKED_ELSEWHERE})", case.values[0])]


def test_there_are_other_lines():
    assert len(OTHER) > 5


@pytest.mark.parametrize("line", OTHER)
def test_all_other_lines_name_what_is_there(line):
    told = re.sub(r"^([A-Z_]+=\S+ )+", "", line)
    script = told.split()[1 if told.startswith("python") else 0]
    assert script.startswith("scripts/"), told
    text = (ROOT / script).read_text(encoding="utf-8")
    if "train_default" in script:
        text += (ROOT / "scripts/train_default.py").read_text(encoding="utf-8")
        text += (ROOT / "scripts/travel.py").read_text(encoding="utf-8")
    for option in re.findall(r"(?<!\S)--[\w-]+", told):
        assert option in text, told


PYTHON = [
    block for block in blocks("python") if not re.search("server|integrations", block.page)
]  # run in their rooms


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_programs_run(block, yard, task_model, whole_graph, tmp_path):
    whole_graph(yard / "net.onnx")
    for task in ("colorization", "inpainting"):
        card = shutil.copytree(task_model(task), tmp_path / "cache/models" / task) / "model.json"
        card.write_text(card.read_text().replace('"tiny"', f'"{task}"'))
    code = re.sub(r'--8<-- "(.*)"', lambda file: (ROOT / file[1]).read_text(encoding="utf-8"), block.code)
    program = compile(code, str(block), "exec")
    if code == block.code:  # examples are run, with arguments, in test_examples.py
        exec(program, {"__name__": "docs"})


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_settings_are_those_of_a_stage(block, tmp_path):
    """Over the settings of the tiny network, of at least one stage."""
    from facemend.errors import ConfigError
    from facemend.training.config import load_config

    refused = []
    for stage in ("stage1", "stage2", "stage3"):
        base = (ROOT / f"configs/tiny-{stage}.toml").as_posix()
        file = tmp_path / f"{stage}.toml"
        file.write_text(f'base = "{base}"\n{block.code}', encoding="utf-8")
        tomllib.loads(block.code)
        try:
            load_config(file)
        except ConfigError as error:
            refused.append(str(error))
    assert len(refused) < 3, refused
