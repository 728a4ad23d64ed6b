"""Pages and cards name commands, options, modules and functions that exist."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from meshops.cli.main import VERBS, main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "models/**/*.md", "datasets/**/*.md")
    for page in ROOT.glob(pattern)
    if "_build" not in page.parts
)
# Plumbing that is not part of the reference: the command line shows its own help there.
UNDOCUMENTED = {
    "__main__",
    "cli",
    "data.mesh_bytes",
    "data.read_worker",
    "data.text_numbers",
    "data.vtk_io",
    "data.wire",
    "datasets.airfrans.standin",
    "datasets.drivaer.standin",
    "datasets.folder.array_files",
    "datasets.folder.cases",
    "datasets.folder.find",
    "datasets.folder.guess",
    "datasets.folder.loading",
    "datasets.folder.looking",
    "datasets.folder.meshes",
    "datasets.folder.patterns",
    "datasets.folder.snapshot_guess",
    "datasets.folder.split",
    "datasets.folder.standin",
    "datasets.folder.study_file",
    "datasets.folder.suffixes",
    "datasets.folder.walk",
    "datasets.geo_fno.files",
    "datasets.geo_fno.standin",
    "datasets.shapenet_car.files",
    "datasets.shapenet_car.standin",
    "folders",
    "io",
    "plain_yaml",
    "ops.kernels",
    "progress",
    "solvers.developable",
    "version",
    "viz.film",
    "viz.layout",
    "viz.movie",
    "viz.render",
    "viz.timeplot",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def typed() -> list[tuple[str, str]]:
    """(page, command) of every ``meshops VERB ...`` in a console block, joined over line ends."""
    found = []
    for page in PAGES:
        for block in blocks(page, "(?:console|bash|sh)"):
            for line in block.replace("\\\n", " ").splitlines():
                match = re.search(rf"(?:^|[\s/])meshops ((?:{'|'.join(VERBS)})\b.*)", line)
                if match:
                    found.append((str(page.relative_to(ROOT)), match.group(1).partition(" #")[0].strip()))
    return found


def commands() -> list[tuple[str, str]]:
    """Those, and those in sentences."""
    found = typed()
    for page in PAGES:
        inline = re.findall(rf"`meshops ((?:{'|'.join(VERBS)})\b[^`]*)`", page.read_text(encoding="utf-8"))
        found += [(str(page.relative_to(ROOT)), command.replace("\n", " ")) for command in inline]
    return found


def test_there_are_pages_and_commands() -> None:
    assert len(PAGES) > 20
    assert {command.split()[0] for _, command in commands()} >= {"demo", "train", "evaluate", "predict", "partition"}


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_commands_use_options_that_exist(page: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    verb, *arguments = shlex.split(command)
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    for argument in arguments:
        if argument.startswith("--") and argument != "--help":
            assert re.search(rf"{re.escape(argument.partition('=')[0])}\b", text), f"{page}: meshops {verb} {argument}"
    for argument in arguments:
        if argument.endswith(".yaml"):
            assert argument == "RUN.yaml" or argument.endswith("study.yaml") or (ROOT / argument).is_file(), (
                f"{page}: no file {argument}"
            )


def fenced() -> list[tuple[str, str]]:
    """Commands of console blocks that are meant to be typed as they are."""
    found = set()
    for page, command in typed():
        if not re.search(r"\.\.\.|\[|\bCKPT\b|\bVERB\b|<", command):
            found.add((page, command.split(" | ")[0].split(" > ")[0].strip()))
    return sorted(found)


class Parsed(Exception):
    """The command line was taken."""


@pytest.mark.parametrize(("page", "command"), fenced())
def test_commands_pass_the_real_parsers(page: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value has its type, every required argument is there, run files and settings exist."""
    from meshops.cli import train as trained
    from meshops.cli.options import Parser

    whole, stages = trained.parse, trained.parse_stages

    def taken(original: Callable[..., object]) -> Callable[..., object]:
        def run(self: Parser, *arguments: object) -> object:
            original(self, *arguments)
            raise Parsed

        return run

    def after(parse: object) -> object:
        def run(arguments: list[str]) -> object:
            parse(arguments)  # type: ignore[operator]
            raise Parsed

        return run

    verb, *arguments = shlex.split(command)
    if verb == "info" or "--help" in arguments or "RUN.yaml" in arguments:
        return
    if "--import" in arguments:
        place = arguments.index("--import")
        del arguments[place : place + 2]
    monkeypatch.chdir(ROOT)
    for name in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(Parser, name, taken(getattr(Parser, name)))
    monkeypatch.setattr(trained, "parse", after(whole))
    monkeypatch.setattr(trained, "parse_stages", after(stages))
    with pytest.raises(Parsed):
        assert main([verb, *arguments]) == 0, f"{page}: meshops {command}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_compile_and_import_what_exists(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("meshops"):
                exec(compile(ast.Module([node], []), str(page), "exec"), {})


EXTERNAL = {  # a person looked: tests fetch nothing
    "https://docs.astral.sh/uv/",
    "https://keepachangelog.com/en/1.1.0/",
    "https://semver.org/spec/v2.0.0.html",
}


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Slugs of the headings of a page, as GitHub and MyST make them."""
    heads = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Files and headings of this repository exist; an address elsewhere is one that is listed."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            assert link in EXTERNAL, f"{link}: look whether it is there, then list it"
        elif not link.startswith("mailto:"):
            file, _, anchor = link.partition("#")
            target = page.parent / file if file else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def test_anchors_are_those_of_the_headings(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# `meshops.ops`: operations\n\n## Two words\n\n```python\n# no heading\n```\n")
    assert anchors(page) == {"meshopsops-operations", "two-words"}


def names_in(path: Path) -> set[str]:
    """Functions and classes of a file, and methods and attributes of its classes."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_functions_named_with_their_file_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for file, name in re.findall(r"`((?:meshops|tests|examples)/[\w/]+\.py)(?::([\w.]+))?`", text):
        assert (ROOT / file).is_file(), f"no file {file}"
        if name:
            assert name in names_in(ROOT / file), f"no {name} in {file}"


def test_the_card_of_mspt_maps_equations_to_code() -> None:
    text = (ROOT / "models" / "mspt" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`meshops/[\w/]+\.py:(\w+)`", text))
    assert {"MSPT", "MSPTBlock", "ReferenceBlock", "PatchAttention", "SupernodePool", "BallTree"} <= named
    for word in ("secondary", "unverified", "12.78 M", "3.86 M", "AB-UPT, re-run by the MSPT authors"):
        assert word in text


def test_every_module_is_in_the_reference() -> None:
    documented = set()
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        documented |= set(re.findall(r"automodule:: meshops\.([\w.]+)", page.read_text(encoding="utf-8")))
    gone = [name for name in documented if not (ROOT / "meshops" / name.replace(".", "/")).with_suffix(".py").is_file()]
    assert gone == []
    missing = []
    for path in sorted((ROOT / "meshops").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "meshops").with_suffix("").parts)
        hidden = any(name == part or name.startswith(f"{part}.") for part in UNDOCUMENTED)
        if not name.endswith("__init__") and not hidden and name not in documented:
            missing.append(name)
    assert missing == []


@pytest.mark.slow
def test_the_pages_build_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("furo")
    build = pytest.importorskip("sphinx.cmd.build")
    assert build.main(["-q", "-W", "-b", "html", str(ROOT / "docs"), str(tmp_path / "html")]) == 0
    assert "usage: meshops train RUN.yaml" in (tmp_path / "html" / "reference" / "cli.html").read_text()
