"""Settings: where they come from, which wins, and how every error is told at once."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from wgfleet import given_files
from wgfleet.cli.panel_settings import EXIT_SETTINGS, app
from wgfleet.panel.settings import Listener, Settings, SettingsError, load_settings, loading, sample


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "panel.toml"


def problems(file: Path | None, env: dict[str, str]) -> list[tuple[str, str]]:
    with pytest.raises(SettingsError) as caught:
        load_settings(file, env)
    return [(problem.key, problem.reason) for problem in caught.value.problems]


def test_the_sample_parses_to_the_defaults_and_names_every_key(file: Path) -> None:
    file.write_text(sample())
    assert load_settings(file, {}) == Settings() == load_settings(None, {})
    groups: list[type[BaseModel]] = [
        Settings,
        *(type(value) for _, value in Settings() if isinstance(value, BaseModel)),
    ]
    for name, field in (item for group in groups for item in group.model_fields.items()):
        assert name in sample()
        assert field.description or isinstance(field.default, BaseModel)


def test_the_documentation_shows_the_sample_as_it_is() -> None:
    assert f"```toml\n{sample()}```\n" in (Path(__file__).parents[3] / "docs" / "settings.md").read_text()


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(file: Path) -> None:
    file.write_text("[drain]\ngrace_s = 1\nlive_s = 1\ntakeover_batch = 1\n")
    env = {"WGFLEET_DRAIN__LIVE_S": "2", "WGFLEET_DRAIN__TAKEOVER_BATCH": "2"}
    drain = load_settings(file, env, {"drain": {"takeover_batch": 3}}).drain
    assert (drain.grace_s, drain.live_s, drain.takeover_batch) == (1, 2, 3)


def test_lists_in_the_environment_are_separated_by_commas() -> None:
    env = {"WGFLEET_LISTEN": "127.0.0.1:1, 192.0.2.1:2,[::1]:3", "WGFLEET_TLS__NAMES": "vpn.example.com,192.0.2.1"}
    settings = load_settings(None, env)
    assert list(map(str, settings.listen)) == ["http://127.0.0.1:1", "https://192.0.2.1:2", "http://[::1]:3"]
    assert settings.tls.names == ("vpn.example.com", "192.0.2.1")


def test_loopback_speaks_tls_when_asked_to() -> None:
    assert load_settings(None, {"WGFLEET_LISTEN": "https://localhost:1"}).listen == (Listener("https", "127.0.0.1", 1),)


@pytest.mark.parametrize("address", ["http://0.0.0.0:80", "http://192.0.2.1:80", "http://[::]:80"])
def test_plain_http_off_loopback_is_refused(address: str) -> None:
    [(key, reason)] = problems(None, {"WGFLEET_LISTEN": address})
    assert key == "WGFLEET_LISTEN"
    assert "loopback only; write https://" in reason


@pytest.mark.parametrize("address", ["", "x", "127.0.0.1", "127.0.0.1:65536", "::1:80", "ftp://127.0.0.1:1", "a.b:1"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    assert [key for key, _ in problems(None, {"WGFLEET_LISTEN": address})] == ["WGFLEET_LISTEN"]


def test_every_error_is_told_at_once_with_its_place(file: Path) -> None:
    file.write_text('databse_url = "x"\nlisten = ["http://192.0.2.1:80"]\n[drain]\ngrase_s = 1\nlive_s = 0\n')
    with pytest.raises(SettingsError) as caught:
        load_settings(file, {"WGFLEET_LOG__LEVEL": "loud", "WGFLEET_DRAIN__TAKEOVR_BATCH": "1", "WGFLEET_LISTN": "x"})
    lines = str(caught.value).splitlines()
    assert len(lines) == 7
    for expected in (
        f"{file}: databse_url: there is no such setting; did you mean database_url?",
        f"{file}: listen.0: 'http://192.0.2.1:80': plain http is for loopback only",
        f"{file}: drain.grase_s: there is no such setting; did you mean drain.grace_s?",
        f"{file}: drain.live_s: ",
        "environment: WGFLEET_LOG__LEVEL: ",
        "environment: WGFLEET_DRAIN__TAKEOVR_BATCH: there is no such setting; did you mean drain.takeover_batch?",
        "environment: WGFLEET_LISTN: there is no such setting; did you mean WGFLEET_LISTEN?",
    ):
        assert any(line.startswith(expected) for line in lines), expected


def test_variables_of_other_programs_with_our_prefix_are_left_alone() -> None:
    env = {"WGFLEET_MASTER_KEY": "x", "WGFLEET_API_KEY": "x", "WGFLEET_SOMETHING_ELSE": "x"}
    assert load_settings(None, env) == Settings()


def test_a_whole_group_in_one_variable_is_refused_with_the_way_out() -> None:
    assert problems(None, {"WGFLEET_TLS": "{}"}) == [
        ("WGFLEET_TLS", "is a group of settings; set WGFLEET_TLS__KEY instead")
    ]


def test_a_certificate_without_its_key_is_refused(file: Path, tmp_path: Path) -> None:
    certificate = tmp_path / "tls.crt"
    certificate.touch()
    file.write_text(f'[tls]\ncertificate_file = "{certificate}"\n')
    [(key, reason)] = problems(file, {})
    assert key == "tls"
    assert "belong together" in reason


def test_a_file_that_is_missing_or_no_toml_is_named(file: Path) -> None:
    assert "cannot be read" in problems(file, {})[0][1]
    file.write_text("a = [")
    assert "is not TOML" in problems(file, {})[0][1]


@pytest.mark.parametrize(
    "written", [b"\xef\xbb\xbfdata_dir = '/srv/x'\r\n", "data_dir = '/srv/x'\r\n".encode("utf-16")]
)
def test_a_file_as_windows_saves_it_is_read(file: Path, written: bytes) -> None:
    file.write_bytes(written)
    assert load_settings(file, {}).data_dir == Path("/srv/x")


def test_a_file_in_another_encoding_is_refused_in_words(file: Path) -> None:
    file.write_bytes("data_dir = '/srv/café'".encode("latin-1"))
    assert problems(file, {}) == [("", "is not in UTF-8; save it in UTF-8")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "1" * 5000, "a number that is too long"),
        ("a = " + "[" * 100_000, "nested too deep"),
        ("data_dir = 5", "must be a path"),
        ('data_dir = "/a\\u0000"', "a character that no path has"),
        ("listen = 5", "must be a list"),
        ("tls = 5", "must be a table"),
        ("[acme]\ndns_options = '" + "[" * 100_000 + "'", "is not JSON"),
    ],
)
def test_values_of_other_kinds_are_refused_without_words_of_python(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    assert said in problems(file, {})[0][1]


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/dev/zero"), os.mkfifo, os.mkdir])
def test_what_is_no_file_is_neither_read_for_ever_nor_waited_for(
    file: Path, make: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given_files, "WRITER_S", 0.05)
    make(file)
    assert "cannot be read (" in problems(file, {})[0][1]


def test_settings_come_from_a_pipe_too() -> None:
    read, write = os.pipe()
    os.write(write, b"data_dir = '/srv/x'")
    os.close(write)
    assert load_settings(Path(f"/dev/fd/{read}"), {}).data_dir == Path("/srv/x")
    os.close(read)


def test_what_a_command_prints_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bash: `--settings-file <(ssh old-panel cat ...)`, which may take its time."""
    monkeypatch.setattr(given_files, "WRITER_S", 0.05)
    with subprocess.Popen(["sh", "-c", "sleep 0.5; echo 'data_dir = \"/srv/x\"'"], stdout=subprocess.PIPE) as late:
        assert late.stdout is not None
        assert load_settings(Path(f"/dev/fd/{late.stdout.fileno()}"), {}).data_dir == Path("/srv/x")


def test_places_that_may_not_be_entered_are_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = Path("/locked/panel.toml")
    real = cast("Callable[..., Any]", os.stat)

    def refused(path: object, **how: Any) -> object:
        if str(path) == str(locked):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, **how)

    def unopened(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refused)
    file.write_text(f'[tls]\ncertificate_file = "{locked}"\nkey_file = "{file}"\n')
    [(key, reason)] = problems(file, {})
    assert (key, reason) == ("tls.certificate_file", f"{locked} cannot be read (Permission denied)")
    monkeypatch.setattr(loading, "DEFAULT_FILE", locked)
    monkeypatch.setattr(loading, "_bytes_of", unopened)
    assert problems(None, {}) == [("", "cannot be read (Permission denied)")]


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("WGFLEET_DATA_DIR=", "names no directory"),
        ("WGFLEET_DATA_DIR=~/wgfleet", "the whole path"),
        ("WGFLEET_DATA_DIR=/srv/a?b", "question mark"),
        ("WGFLEET_DATABASE_URL=sqlite:///:memory:", "names no file"),
        ("WGFLEET_DATABASE_URL=sqlite:///", "names no file"),
        ("WGFLEET_DATABASE_URL=postgresql+psycopg://u:hunter2@h:port/x", "no port of digits"),
        ("WGFLEET_DATABASE_URL=postgresql+psycopg://u:hunter@2@h:port/x", "%40 for @"),
        ("WGFLEET_PUBLIC_URL=vpn.example.com", "must be https://HOST"),
        ("WGFLEET_PUBLIC_URL=https://u:hunter2@vpn.example.com", "must be https://HOST"),
        ("WGFLEET_PUBLIC_URL=https://-vpn.example.com", "is not a domain name"),
        ("WGFLEET_PUBLIC_URL=https://vpn.example.com:99999", "port"),
        ("WGFLEET_PUBLIC_URL=https://vpn.example.com:0", "port"),
        ("WGFLEET_PUBLIC_URL=https://[2001:db8::x]", "is not an IPv4 or IPv6 address"),
        ("WGFLEET_PUBLIC_URL=https://192.0.2.300", "is not a domain name"),
        ("WGFLEET_DNS__CLOUDFLARE_URL=api", "must be a URL that begins"),
        ("WGFLEET_ACME__EMAIL=anna", "must be an address such as"),
        ("WGFLEET_ACME__DIRECTORY=lets", "must be letsencrypt, "),
    ],
)
def test_values_that_no_panel_can_use_are_refused_in_words(variable: str, said: str) -> None:
    name, _, text = variable.partition("=")
    [(key, reason)] = problems(None, {name: text})
    assert key == name
    assert said in reason
    assert "hunter" not in reason


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("https://vpn.example.com/", "https://vpn.example.com"),
        ("HTTPS://VPN.example.com.:8443/Panel//", "https://vpn.example.com:8443/Panel"),
        ("https://stra\u00dfe.example/a/b", "https://xn--strae-oqa.example/a/b"),
        ("https://[2001:DB8:0::1]:8443", "https://[2001:db8::1]:8443"),
        ("https://192.0.2.1", "https://192.0.2.1"),
        ("http://localhost:8080", "http://localhost:8080"),
    ],
)
def test_where_the_panel_is_reached_is_kept_as_certificates_have_it(url: str, meant: str) -> None:
    assert load_settings(None, {"WGFLEET_PUBLIC_URL": url}).public_url == meant


@pytest.mark.parametrize("host", ["0x7f000001", "2130706433", "127.1", "vpn.0x1"])
def test_a_public_address_is_no_number_in_disguise(host: str) -> None:
    [(key, reason)] = problems(None, {"WGFLEET_PUBLIC_URL": f"https://{host}"})
    assert (key, "such as vpn.example.com" in reason) == ("WGFLEET_PUBLIC_URL", True)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:p@h/x",
        "postgresql+psycopg:///wgfleet?host=/run/postgresql",
        "postgresql+psycopg://u:p%40w@[2001:db8::1]:5432/x?sslmode=require",
        "postgresql+psycopg://h",
        "sqlite:////srv/p.db?timeout=3",
        "sqlite:///p.db",
    ],
)
def test_urls_of_databases_are_taken(url: str) -> None:
    assert load_settings(None, {"WGFLEET_DATABASE_URL": url}).store_url == url


def test_the_password_of_the_database_is_not_shown() -> None:
    url = "postgresql+psycopg://u:hunter2@db/wgfleet"
    settings = load_settings(None, {"WGFLEET_DATABASE_URL": url})
    assert settings.store_url == url
    assert "hunter2" not in repr(settings)
    wrong = problems(None, {"WGFLEET_DATABASE_URL": "mysql://u:hunter2@db/wgfleet"})
    assert "hunter2" not in repr(wrong)


def test_the_database_is_a_file_in_the_data_directory_by_default() -> None:
    assert load_settings(None, {"WGFLEET_DATA_DIR": "/srv/x"}).store_url == "sqlite:////srv/x/panel.sqlite"


def test_check_prints_all_problems_and_ends_with_two(file: Path) -> None:
    file.write_text("a = 1\nb = 2\n")
    result = CliRunner().invoke(app, ["check-settings", "--settings-file", str(file)])
    assert result.exit_code == 2
    assert result.stderr.count("error: ") == 2


def test_check_accepts_what_sample_prints(file: Path) -> None:
    printed = CliRunner().invoke(app, ["sample-settings"])
    file.write_text(printed.stdout)
    result = CliRunner().invoke(app, ["check-settings", "--settings-file", str(file)])
    assert (printed.exit_code, result.exit_code) == (0, 0)
    assert "settings are valid" in result.stdout


def test_a_program_that_is_not_there_or_cannot_be_run_is_found_beforehand(file: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    for path, said in (("/nonexistent", "cannot be found"), (plain, "it must be an executable file")):
        file.write_text(f'[floating]\nprograms = {{ move = ["{path}"] }}\n')
        result = CliRunner().invoke(app, ["check-settings", "--settings-file", str(file)])
        assert result.exit_code == EXIT_SETTINGS
        assert "floating.programs.move" in result.output
        assert said in " ".join(result.output.split())
    plain.chmod(0o700)
    assert CliRunner().invoke(app, ["check-settings", "--settings-file", str(file)]).exit_code == 0


def test_the_longest_wait_for_a_probe_is_no_shorter_than_the_least(file: Path) -> None:
    for text in ("timeout_s = 3\nlongest_timeout_s = 2", "longest_timeout_s = 0.01"):
        file.write_text(f"[health]\n{text}\n")
        ((key, reason),) = problems(file, {})
        assert key.startswith("health")
        assert "longest_timeout_s must be timeout_s or longer" in reason
    file.write_text("[health]\ntimeout_s = 3\n")
    assert load_settings(file, {}).health.rules.longest_timeout_s == 3
