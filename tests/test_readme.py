"""The README is true: its Python snippets run, its options exist, its two commands are there."""

import re
from pathlib import Path

import pytest
from internals import _parser

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_snippets_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    assert len(blocks("python")) >= 5
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), namespace)


@pytest.mark.parametrize("line", [line for block in blocks("sh") for line in block.splitlines() if "fastgd " in line])
def test_command_lines_parse(line):
    command = line.partition("#")[0].rpartition("fastgd ")[2].split()
    assert _parser().parse_args(command).command


@pytest.mark.parametrize("job", ["fastgd demo", "pytest"])
def test_each_of_the_two_commands_is_one_line_from_nothing(job):
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.endswith(job)]
    assert any(line.startswith("python3 -m venv") and "pip install" in line for line in lines)


@pytest.mark.parametrize("table", ["passes", "fits", "sparse", "memory", "annealing"])
def test_measured_tables_are_the_recorded_ones(table):
    recorded = (Path(__file__).parents[1] / "bench" / "results" / f"{table}.md").read_text(encoding="utf-8")
    assert recorded.strip().split("\n\n")[1] in README


def test_what_can_be_relied_on_is_tested():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", README)
    assert len(named) > 20
    for file, test in named:
        assert f"def {test}(" in (Path(__file__).parent / file).read_text(encoding="utf-8"), (file, test)
