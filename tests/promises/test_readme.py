"""What README and guide say is true: snippets run, commands parse, links resolve, tables and tests exist."""

import argparse
import re
import shlex
import sys
from pathlib import Path

import pytest

from fastgd.__main__ import main

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
README, BENCH, GUIDE = ROOT / "README.md", ROOT / "bench" / "README.md", ROOT / "fastgd" / "guide"
RESULTS = ROOT / "bench" / "results"
CHAPTERS = sorted(GUIDE.glob("*.md"))
DOCUMENTS = [README, BENCH, *CHAPTERS]
TABLES = [
    "passes",
    "fits",
    "real",
    "sparse",
    "memory",
    "inference",
    "annealing",
    "cold",
    "precision",
    "cluster",
    "stream",
    "stream_rivals",
]


def text_of(path):
    return path.read_text(encoding="utf-8")


def blocks(path, language):
    """Return the code of each block, below as many empty lines as there are above it in the file."""
    found = re.finditer(rf"^```{language}\n(.*?)^```", text_of(path), flags=re.DOTALL | re.MULTILINE)
    return ["\n" * found.string.count("\n", 0, found.start(1)) + found[1] for found in found]


def prose(path):
    return re.sub(r"^```.*?^```", "", text_of(path), flags=re.DOTALL | re.MULTILINE)


def commands():
    lines = [(path.name, line) for path in DOCUMENTS for block in blocks(path, "sh") for line in block.splitlines()]
    parts = [(name, part) for name, line in lines for part in line.split("&&")]
    words = [(name, shlex.split(part, comments=True)) for name, part in parts]
    return [(name, given) for name, given in words if given and Path(given[0]).name == "fastgd"]


def anchors(path):
    """GitHub's names of the headings: lower case, without punctuation, spaces as hyphens."""
    headings = re.findall(r"^#+ (.*)$", prose(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if blocks(path, "python")], ids=name)
def test_python_snippets_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "snippets"}
    for block in blocks(path, "python"):
        exec(compile(block, name(path), "exec"), namespace)


def test_there_are_snippets_and_commands():
    with_snippets = [path.stem for path in CHAPTERS if blocks(path, "python")]
    assert blocks(README, "python")
    assert {"fit", "estimators", "tables", "sparse", "streams", "dask", "stopping", "rolling_ball"} <= {*with_snippets}
    assert len(commands()) >= 15


class Parsed(BaseException):
    """Raised in place of the command that would run."""


@pytest.mark.parametrize(("document", "given"), commands(), ids=lambda part: part if isinstance(part, str) else None)
def test_command_lines_parse(document, given, monkeypatch):
    parse = argparse.ArgumentParser.parse_args

    def stop(self, *arguments, **options):
        raise Parsed(parse(self, *arguments, **options))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", given)
    try:
        main()
    except Parsed:
        return
    except SystemExit as refused:
        pytest.fail(f"{document}: {shlex.join(given)} ended with {refused.code}")
    pytest.fail(f"{document}: {shlex.join(given)} was not parsed by argparse")


@pytest.mark.parametrize("job", ["fastgd demo", "pytest"])
def test_each_of_the_two_commands_is_one_line_from_nothing(job):
    lines = [line for block in blocks(README, "sh") for line in block.splitlines() if line.endswith(job)]
    assert any(line.startswith("python3 -m venv") and "pip install" in line for line in lines)


def test_the_test_command_is_where_continuous_integration_looks_for_it():
    marked = text_of(README).partition("<!-- the test command -->\n```sh\n")[2].partition("\n```")[0]
    assert re.fullmatch("python.*pytest", marked)


def test_the_readme_is_short():
    assert len(re.findall(r"\S*\w\S*", prose(README))) <= 1250


@pytest.mark.parametrize("table", TABLES)
def test_measured_tables_are_the_recorded_ones(table):
    recorded = [part for part in text_of(RESULTS / f"{table}.md").split("\n\n") if part.startswith("|")]
    assert recorded
    for part in recorded:
        assert part.strip() in text_of(BENCH), table


def recorded_fits(problem):
    """Seconds to 1e-9 and their ratio to fastgd's, as they were recorded, of each contender that got there."""
    lines = [line for table in ("rivals", "sparse") for line in text_of(RESULTS / f"{table}.md").splitlines()]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    of_problem = [line for line in cells if line[0] == problem]
    return {line[1]: (line[3], line[4]) for line in of_problem if line[3] != "cut off"}


@pytest.mark.parametrize("line", [line for line in text_of(README).splitlines() if re.match(r"\| .*\d × \d", line)])
def test_the_table_of_speed_is_what_was_recorded(line):
    problem, ours, rival, *of_rival, best, time, ratio = [cell.strip() for cell in line.strip("|").split("|")]
    fits = recorded_fits(problem)
    others = sorted((name for name in fits if not name.startswith("fastgd")), key=lambda name: float(fits[name][0]))
    assert next(seconds for contender, (seconds, _) in fits.items() if contender.startswith("fastgd")) == ours
    assert (rival, *of_rival) == (others[0], *fits[others[0]])
    assert best == next(name for name in others if name.startswith("scikit-learn "))
    assert (time, ratio) == fits[best]


@pytest.mark.parametrize("line", re.findall(r"^\| .*, [\d,]+ rows.*\|$", text_of(README), flags=re.MULTILINE))
def test_the_table_of_real_data_is_what_was_recorded(line):
    described, ours, passes, *rivals = [cell.strip() for cell in line.strip("|").split("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in text_of(RESULTS / "real.md").splitlines()]
    problem = max((row[0] for row in cells if row[0] and described.startswith(row[0])), key=len)
    found = {row[1]: row for row in cells if row[0] == problem}
    assert (found["fastgd"][2], found["fastgd"][5].split(",")[0]) == (ours, passes)
    for rival, name in zip(rivals, ("glum", "scikit-learn's recipe"), strict=True):
        assert rival == found[name][2] or (rival == "–" and not found[name][2][0].isdigit())


def test_there_is_a_table_of_speed():
    assert len(re.findall(r"^\| .*, [\d,]+ rows.*\|$", text_of(README), flags=re.MULTILINE)) >= 5
    assert sum(bool(re.match(r"\| .*\d × \d", line)) for line in text_of(README).splitlines()) >= 5


def test_what_can_be_relied_on_is_tested():
    promises = text_of(GUIDE / "numbers.md")
    named = re.findall(r"`(test_\w+)`", promises)
    tests = [text_of(path) for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(named) > 40
    for test in named:
        assert any(f"def {test}(" in text for text in tests), test
    for line in re.findall(r"^\| (?!promise|--).*$", promises, flags=re.MULTILINE):
        assert "`test_" in line or "](" in line, line


def test_files_that_the_guide_names_exist():
    named = {file for path in DOCUMENTS for file in re.findall(r"`(?:fastgd/)?(_\w+/[\w/]*(?:\.py)?)`", text_of(path))}
    assert len(named) > 40
    assert not [file for file in sorted(named) if not (ROOT / "fastgd" / file).exists()]


def test_each_chapter_has_a_title_and_is_linked_from_the_readme():
    assert len(CHAPTERS) >= 12
    for path in CHAPTERS:
        assert re.match(r"# \S", text_of(path)), path
        assert f"](fastgd/guide/{path.name})" in text_of(README), path


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_relative_links_resolve(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link
