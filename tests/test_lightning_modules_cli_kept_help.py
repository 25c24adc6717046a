"""A kept help text is what would be made anew, and nobody notices where it comes from."""

import gzip
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.forked_fits import COMMAND
from support.processes import run

from lightning_modules.cli import kept_help, main
from lightning_modules.cli.kept_help import SLOW, run_with_kept_help

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    monkeypatch.setenv("DYC_CACHE", str(folder))
    monkeypatch.setattr(kept_help, "CLOCK", 0)  # sources of these tests are younger than two seconds
    return folder


@pytest.fixture
def source(monkeypatch, tmp_path):
    """The one file that texts depend on; with its folder."""
    path = tmp_path / "sources" / "source.py"
    path.parent.mkdir()
    path.write_text("1")
    for each in (path, path.parent):
        os.utime(each, (1, 1))
    monkeypatch.setattr(kept_help, "_sources", lambda: [str(path), str(path.parent)])
    return path


class Command:
    """Makes a text, and counts how often; ``also`` is what it does besides."""

    def __init__(self, also=lambda: None, status=0):
        self.made, self.also, self.status = 0, also, status

    def __call__(self):
        self.made += 1
        print("usage: dyc\n  ü", self.made)
        self.also()
        raise SystemExit(self.status)


def ask(command, *argv):
    try:
        return run_with_kept_help(argv or ("fit", "--help"), command)
    except SystemExit as stop:
        return stop.code


def test_the_second_use_shows_what_the_first_did(cache, source, capsys):
    command = Command()
    assert ask(command) == 0
    first = capsys.readouterr()
    assert first == ("usage: dyc\n  ü 1\n", "")
    assert ask(command, "fit", "-h") == ask(command) == 0
    assert capsys.readouterr() == (first.out * 2, "")
    assert command.made == 1
    plain = cache / "plain"
    plain.touch()
    assert [path.stat().st_mode for path in cache.glob("help/*")] == [plain.stat().st_mode]  # others may read it
    assert [ask(command, "bench", what, "-h") for what in ("ops", "models")] == [0, 0]
    assert command.made == 3


def edit(source, patch):
    source.write_text("12")
    os.utime(source, (1, 1))


FLAGS = {name: getattr(sys.flags, name) for name in dir(sys.flags) if not name.startswith("_")}
CHANGES = {
    "size": edit,
    "time": lambda source, patch: os.utime(source, (2, 2)),
    "gone": lambda source, patch: (source.unlink(), os.utime(source.parent, (1, 1))),
    "beside it": lambda source, patch: (source.parent / "new.py").touch(),
    "width": lambda source, patch: patch.setenv("COLUMNS", "47"),
    "colour": lambda source, patch: patch.setenv("NO_COLOR", "1"),
    "language": lambda source, patch: patch.setenv("LC_MESSAGES", "xx"),
    "flags": lambda source, patch: patch.setattr(sys, "flags", SimpleNamespace(**{**FLAGS, "dev_mode": 2})),
    "python": lambda source, patch: patch.setattr(sys, "version", "3.x"),
    "path": lambda source, patch: patch.syspath_prepend(source.parent),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_text_is_made_anew_after_a_change(source, monkeypatch, change):
    command = Command()
    for _ in range(2):
        ask(command)
    CHANGES[change](source, monkeypatch)
    for _ in range(2):
        ask(command)
    assert command.made == 2


@pytest.mark.parametrize(
    "command",
    [
        Command(lambda: print("a warning", file=sys.stderr)),
        Command(lambda: sys.stderr.writelines(["a warning"])),
        Command(status=2),
    ],
    ids=["print", "writelines", "status"],
)
def test_only_a_text_without_trouble_is_kept(cache, source, capsys, command):
    assert ask(command) == ask(command) == command.status
    assert command.made == 2
    assert not cache.exists()
    out, err = capsys.readouterr()
    assert out.count("usage") == 2
    assert err.count("a warning") == 2 * (command.status == 0)


def test_a_text_whose_sources_changed_while_it_was_made_is_not_kept(cache, source):
    def change():
        source.write_text("12")
        os.utime(source, (1, 1))

    command = Command(change)
    for _ in range(2):
        ask(command)
    assert command.made == 2
    assert not cache.exists()


@pytest.mark.parametrize(
    "argv",
    [
        "",
        "--help",
        "bench --help",
        "models --help",
        "bench nothing --help",
        "fit",
        "fit --config quickstart.yaml --help",
        "fit --import mine.py --help",
        "fit --help --trainer.max_epochs 3",
        "bench models --import mine.py --help",
        "fit --trainer.callbacks.help EpochReport",
    ],
)
def test_other_command_lines_are_run(cache, source, argv):
    command = Command()
    for _ in range(2):
        with pytest.raises(SystemExit):
            run_with_kept_help(argv.split(), command)
    assert command.made == 2
    assert not cache.exists()


DAMAGES = {
    "empty": lambda data: b"",
    "cut short": lambda data: data[: len(data) // 2],
    "a wrong bit": lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:],
    "something else": lambda data: b"usage: dyc",
    "another form": lambda data: gzip.compress(b'["usage"]'),
    "a part": lambda data: gzip.compress(json.dumps({"text": "usage"}).encode()),
    "no text": lambda data: gzip.compress(b"\xff\xfe"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_ignored_and_written_anew(cache, source, capsys, damage):
    command = Command()
    ask(command)
    [file] = cache.glob("help/*")
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    assert ask(command) == ask(command) == 0
    assert command.made == 2
    assert capsys.readouterr() == ("usage: dyc\n  ü 1\n" + "usage: dyc\n  ü 2\n" * 2, "")


@pytest.mark.parametrize("trouble", ["not a folder", "no home"])
def test_without_a_cache_the_text_is_made_each_time(cache, source, monkeypatch, capsys, trouble):
    if trouble == "not a folder":
        cache.write_text("a file")  # refused to every user, root too
    else:
        for name in ("DYC_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.setenv(name, "")

        def home():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", home)
    command = Command()
    assert ask(command) == ask(command) == 0
    assert capsys.readouterr() == ("usage: dyc\n  ü 1\nusage: dyc\n  ü 2\n", "")


def test_sources_are_all_that_was_loaded_and_could_be(monkeypatch, tmp_path):
    entries = tmp_path / "plugin-1.0.dist-info" / "entry_points.txt"
    entries.parent.mkdir()
    entries.touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "not_a_module", object())
    monkeypatch.setitem(sys.modules, "of_no_file", SimpleNamespace(__file__=None))
    sources = kept_help._sources()
    assert {str(entries), str(tmp_path)} <= set(sources)
    assert {sys.modules["torch"].__file__, os.path.dirname(sys.modules["torch"].__file__)} <= set(sources)
    ours = ["lightning_modules/cli/training.py", "dyc/layers/attentions", "ops/backends/cpp/csrc", "ops/README.md"]
    assert {str(ROOT / path) for path in ours} <= set(sources)
    assert all(map(os.path.isabs, sources))
    assert not any(path.endswith((".pyc", "__pycache__")) for path in sources)


WARM = """
import sys
from pathlib import Path
from lightning_modules import command
from lightning_modules.cli import kept_help

file = Path(sys.argv.pop(1))
kept_help._file = lambda *_: file  # kept by another process, whose path is another one
status = command.main()
print(*({"torch", "lightning", "jsonargparse"} & set(sys.modules)), file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.parametrize("what", [("fit",), ("bench", "models")], ids=" ".join)
def test_a_kept_text_is_shown_without_pytorch(cache, source, capsys, what):
    argv = [*what, "--help"]
    with pytest.raises(SystemExit):
        run_with_kept_help(argv, lambda: main(argv))
    expected = capsys.readouterr().out
    [file] = cache.glob("help/*")
    done = run([sys.executable, "-c", WARM, file, *argv], env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "\n")


@pytest.mark.exhaustive  # a process that imports everything anew
def test_first_and_later_uses_show_what_there_is_without_a_cache(cache, fits):
    def shown(python, module):
        script = f"import sys; from lightning_modules.{module} import main; sys.exit(main())"
        env = {**os.environ, **fits.environment, "PYTHONPATH": str(ROOT), "DYC_CACHE": str(cache)}
        done = run([*python, "-c", script, "fit", "--help"], env=env)
        return done.returncode, done.stdout, done.stderr

    assert ("fit",) in SLOW
    expected = shown(COMMAND, "cli")
    assert (expected[0], expected[2]) == (0, "")
    assert not cache.exists()
    assert shown([sys.executable], "command") == expected
    [file] = cache.glob("help/*")
    written = file.stat().st_mtime_ns
    assert shown([sys.executable], "command") == expected
    assert file.stat().st_mtime_ns == written
