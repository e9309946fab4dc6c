"""Project files: what they say, and where they are wrong."""

from __future__ import annotations

import pytest

from galenic.errors import GalenicError
from galenic.twin.level import Level
from galenic.twin.project import read_project

GOOD = """\
[site]
name = "Tank"
folder = "records"

[[connection]]
name = "plc"
kind = "opcua"
endpoint = "opc.tcp://127.0.0.1:48410/"

[[twin]]
id = "tank-1"
definition = "galenic.twin.example:tank"
level = "shadow"
targets = { "y0" = 3.0 }

[twin.values]
"x0" = 0.5

[[twin.binding]]
tag = "Tank.Out"
sd = 0.05
stale_after = "20 s"
plausible = [0, 9]
"""


@pytest.fixture
def written(tmp_path):
    def write(old="", new=""):
        assert old in GOOD
        path = tmp_path / "tank.toml"
        path.write_text(GOOD.replace(old, new) if old else GOOD)
        return path

    return write


def test_a_project_is_read(written, tmp_path):
    project = read_project(written())
    (twin,) = project.twins

    binding = next(b for b in twin.definition.bindings if b.tag == "Tank.Out")
    assert project.site.folder == tmp_path / "records"
    assert (binding.sd, binding.stale_after, binding.plausible) == (0.05, 20.0, (0.0, 9.0))
    assert twin.level is Level.SHADOW
    assert twin.definition.targets["y0"] == 3.0
    assert twin.definition.system(twin.values).states[0].value == 0.5


def test_a_definition_in_a_file_beside_the_project(written, tmp_path):
    (tmp_path / "own.py").write_text("from galenic.twin.example import tank as mine\n")

    project = read_project(written("galenic.twin.example:tank", "own.py:mine"))

    assert project.twins[0].definition.name == "tank"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("[site]", "[sight]", 1, "did you mean 'site'"),
        ('folder = "records"', 'foldr = "records"', 3, "did you mean 'folder'"),
        ('name = "Tank"', "name = 3", 2, "expected: a str"),
        ('kind = "opcua"', 'kind = "opca"', 7, "did you mean 'opcua'"),
        ('example:tank"', 'example:tnak"', 12, "did you mean 'tank'"),
        ('level = "shadow"', 'level = "shaddow"', 13, "did you mean 'shadow'"),
        ('level = "shadow"', 'level = "twin"', 13, "a named person raises the level"),
        ('"x0" = 0.5', '"xo" = 0.5', 17, "'x0'"),
        ('"x0" = 0.5', '"x0" = "5 kg"', 17, "kg"),
        ('tag = "Tank.Out"', 'tag = "Tank.Out"\nunit = "kg"', 19, "kg"),
        ("sd = 0.05", "sdd = 0.05", 21, "did you mean 'sd'"),
        ("sd = 0.05", 'quantity = "y9"', 19, "did you mean 'y0'"),
        ('stale_after = "20 s"', 'stale_after = "20 m"', 22, "[m] to [s]"),
        ("plausible = [0, 9]", "plausible = [0]", 23, "two numbers"),
        ("sd = 0.05", "sd = ", 21, "not TOML"),
    ],
)
def test_an_error_names_the_line_and_what_to_try(written, old, new, line, words):
    path = written(old, new)

    with pytest.raises(GalenicError) as caught:
        read_project(path)

    assert f"{path}:{line}" in str(caught.value)
    assert words in str(caught.value)


def test_a_missing_project_file_is_named(tmp_path):
    with pytest.raises(GalenicError, match=r"no\.toml"):
        read_project(tmp_path / "no.toml")
