"""The executive's log goes where its configuration says, and looks as it says."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from aisexec import logs
from aisexec.logs import open_log, unusable_files
from corosync_amf.config import Machine, parse_executive


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


def write(text: str) -> None:
    """A line of each kind, to a log that the text of a logging section configures."""
    config, problems = parse_executive(f"logging {{\n{text}\n}}\n", "corosync.conf", Machine(), {})
    assert problems == []
    listener = open_log(config.logging, config.subsystems, "node-a")
    log = logging.getLogger("aisexec")
    log.debug("CLM: looked at 1")
    log.info("CLM: view %d", 7)
    log.warning("AMF: safSu=su1: gone")
    logging.getLogger("TOTEM").info("Ring 4 of nodes 1, 2")
    logging.getLogger("TOTEM").debug("token 1")
    try:
        raise ValueError("a\nb")
    except ValueError:
        log.exception('it=is "so"')
    listener.stop()
    for handler in listener.handlers:
        handler.close()


def messages(path: Path) -> list[str]:
    return [json.loads(line)["msg"] for line in path.read_text().splitlines()]


def subsystem(name: str, text: str) -> str:
    return f"logger_subsys {{\nsubsys: {name}\n{text}\n}}\n"


def test_a_file_gets_what_is_as_important_as_was_asked_for(tmp_path: Path) -> None:
    whole, worst = tmp_path / "whole", tmp_path / "worst"
    to_file = "to_stderr: no\nto_logfile: yes\nformat: json\n"
    write(f"{to_file}logfile: {whole}")
    assert messages(whole) == ["CLM: view 7", "AMF: safSu=su1: gone", "Ring 4 of nodes 1, 2", 'it=is "so"']
    write(f"{to_file}logfile: {worst}\nlogfile_priority: warning")
    assert messages(worst) == ["AMF: safSu=su1: gone", 'it=is "so"']


def test_a_subsystem_has_settings_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main, ring = tmp_path / "main", tmp_path / "ring"
    text = f"to_logfile: yes\nformat: json\nlogfile: {main}\nto_stderr: no\n"
    write(
        text
        + subsystem("TOTEM", f"logfile: {ring}\ndebug: on\nformat: text\ntimestamp: off")
        + subsystem("AMF", "to_logfile: no\nto_stderr: yes\nformat: text\ntimestamp: off")
        + subsystem("CLM", "logfile_priority: debug")
    )
    assert messages(main) == ["CLM: looked at 1", "CLM: view 7", 'it=is "so"']
    assert ring.read_text() == "node-a info    Ring 4 of nodes 1, 2\nnode-a debug   token 1\n"
    assert capsys.readouterr().err == "node-a warning AMF: safSu=su1: gone\n"


def test_a_line_shows_what_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(f"to_stderr: no\nto_logfile: yes\nlogfile: {path}\ntimestamp: on\nfileline: yes\nfunction_name: yes")
    first = path.read_text().splitlines()[0]
    assert first[2] == first[5] == ":"
    assert first[8:].startswith(" node-a info    [test_logs.py:")
    assert first.endswith("] [write] CLM: view 7")
    assert "ValueError: a" in path.read_text()


def test_logfmt_quotes_what_would_be_read_wrongly(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(f"to_stderr: no\nto_logfile: yes\nlogfile: {path}\ntimestamp: off\nformat: logfmt")
    lines = path.read_text().splitlines()
    assert lines[0] == 'node=node-a level=info msg="CLM: view 7"'
    assert lines[3].startswith('node=node-a level=error msg="it=is \\"so\\"" traceback="Traceback ')
    assert len(lines) == 4


def test_without_a_syslog_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logs, "SYSLOG_SOCKET", str(tmp_path / "none"))
    write("to_syslog: yes\ntimestamp: off")
    assert "Logging error" not in (told := capsys.readouterr().err)
    assert told.count(f"node-a warning LOG: there is no syslog at {tmp_path}/none: its lines are lost\n") == 1


def test_files_that_will_not_open_are_known_before(tmp_path: Path) -> None:
    paths = [tmp_path / "new", tmp_path, tmp_path / "no" / "log"]
    text = "".join(subsystem(name, f"logfile: {path}") for name, path in zip(("AMF", "CLM", "EVT"), paths, strict=True))
    config, _ = parse_executive(
        f"logging {{\nto_logfile: yes\nlogfile: {__file__}\n{text}}}\n", "corosync.conf", Machine(), {}
    )
    assert unusable_files(config.logging, config.subsystems) == [str(path) for path in paths[1:]]


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        write(f"to_logfile: yes\nlogfile: {__file__}/log")
