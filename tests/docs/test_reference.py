"""The pages of reference say what the source says."""

import ast
import inspect
import re
from dataclasses import fields

import pytest
import typer
from pages import ROOT, blocks, rows
from typer.main import get_command

from facemend import errors
from facemend.cli.app import app
from facemend.degradations import preset
from facemend.server.settings import PREFIX, ServerSettings

REFERENCE = ROOT / "docs/reference"
TREES = {
    path: ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "src/facemend").rglob("*.py"))
}
NODES = [node for tree in TREES.values() for node in ast.walk(tree)]


def test_every_variable_is_told_of_and_no_other():
    text = (REFERENCE / "environment.md").read_text(encoding="utf-8")
    words = (node.value for node in NODES if isinstance(node, ast.Constant) and isinstance(node.value, str))
    read = {word for word in words if re.fullmatch(PREFIX + "[A-Z_]+", word)}
    read |= {PREFIX + field.name.upper() for field in fields(ServerSettings)}
    assert set(re.findall(PREFIX + "[A-Z_]+", text)) == read


def kinds():
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    return {each.__name__ for each in classes if issubclass(each, errors.FacemendError)} - {"FacemendError"}


def template(node):
    """A pattern of what an error made by this call says, in which what is filled in may be anything."""
    if isinstance(node, ast.BinOp):
        return template(node.left) + template(node.right)
    pieces = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(re.escape(piece.value) if isinstance(piece, ast.Constant) else ".*" for piece in pieces)


OWN_WORDS = {
    "ExistsError": str(errors.ExistsError("...")),
    "MissingExtraError": str(errors.MissingExtraError("...", "video")).partition("pip install")[0] + "...",
}


def patterns(kind):
    """Of all that errors of a kind say; those that would fit anything are left out."""
    if kind in OWN_WORDS:
        return [re.escape(OWN_WORDS[kind]).replace(re.escape("..."), ".*")]
    calls = [node for node in NODES if isinstance(node, ast.Call) and getattr(node.func, "id", "") == kind]
    texts = (ast.BinOp, ast.JoinedStr, ast.Constant)
    made = [template(call.args[0]) for call in calls if call.args and isinstance(call.args[0], texts)]
    return [each.replace("`", "") for each in made if len(re.sub(r"\.\*|\W", "", each)) >= 8]


def sections(text):
    return dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.M | re.S))


ERRORS = sections((REFERENCE / "errors.md").read_text(encoding="utf-8"))
SAID = [(kind, row[0]) for kind, text in ERRORS.items() for row in rows(text) if row[0].startswith("`")]


def test_every_kind_of_error_has_its_section():
    assert ERRORS.keys() == kinds()
    assert {kind for kind, _ in SAID} == kinds()


@pytest.mark.parametrize(("kind", "said"), SAID, ids=[said for _, said in SAID])
def test_an_error_says_what_the_page_has(kind, said):
    assert any(re.fullmatch(each, said.strip("`")) for each in patterns(kind)), "no longer"


def commands(command, context, names=("facemend",)):
    yield " ".join(names)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        below = command.get_command(context, name)
        yield from commands(below, typer.Context(below, info_name=name, parent=context), (*names, name))


def test_the_command_line_is_shown_whole(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import docs_help

    whole = get_command(app)
    shown = {block.code.strip() for block in blocks("help")}
    context = typer.Context(whole, info_name="facemend")
    assert shown == {f"{command} --help" for command in commands(whole, context)}
    for line in shown:
        command, context = docs_help.find(line)
        html = docs_help.as_html(line)
        for parameter in command.get_params(context):
            argument = parameter.param_type_name == "argument"
            name = (argument and parameter.metavar) or parameter.opts[0]
            assert parameter.hidden or name.upper() in html.upper()
    with pytest.raises(ValueError, match="no command enhance"):
        docs_help.as_html("facemend enhance --help")


@pytest.mark.parametrize("name", ["heavy", "medium", "mixed", "scan"])
def test_presets_have_the_ranges_of_the_page(name):
    text = (ROOT / "docs/how/degradations.md").read_text(encoding="utf-8")
    (row,) = (row for row in rows(text) if row[0].startswith(f"`{name}`"))
    recipe = preset(name)
    ranges = (recipe.blur_sigma, recipe.down, recipe.noise, recipe.jpeg)
    assert row[1:] == [f"{low:g} to {high:g}" for low, high in ranges]


def test_the_packages_of_the_install_page_are_the_extras():
    text = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    assert {row[0].strip("`") for row in rows(text)[2:]} == errors.EXTRAS.keys()
