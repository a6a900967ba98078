"""The flag and the URL as the file has them: told apart without asking anybody."""

from pathlib import Path

import pytest
from doctor_helpers import case, env_file, fault

from kit.app.flags import CONVEX_URL, Flags, set_flags
from kit.doctor.settings import read_settings, url_fault
from kit.errors import ConfigError

ON = "NEXT_PUBLIC_USE_CONVEX_REALTIME=true"
URL = f"{CONVEX_URL}=http://127.0.0.1:3210"
SECRET = "eyJ2MiI6IjNmNDU2Nzg5In0"


@pytest.mark.parametrize(
    ("option", "mode"), [(None, "before"), (1, "option-1"), (2, "option-2")]
)
def test_what_the_stack_writes_is_read_back(
    tmp_path: Path, option: int | None, mode: str
) -> None:
    path = tmp_path / ".env.local"
    url = "http://127.0.0.1:3210"
    set_flags(path, realtime=option is not None, convex_url=url, option=option)
    settings = read_settings(case(env_file=path))
    assert (settings.mode, settings.url, settings.written) == (mode, url, url)
    flag, found = settings.findings
    assert fault(flag) == ("flag-off" if option is None else None)
    assert (found.state, found.seen) == ("ok", url)


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([], "flag-off"),
        (["NEXT_PUBLIC_USE_CONVEX_REALTIME=false"], "flag-off"),
        (["NEXT_PUBLIC_USE_CONVEX_REALTIME="], "flag-off"),
        (["# " + ON], "flag-off"),
        (["NEXT_PUBLIC_USE_CONVEX_REALTME=true"], "flag-misspelt"),
        (["USE_CONVEX_REALTIME=true"], "flag-misspelt"),
        (["next_public_use_convex_realtime=true"], "flag-misspelt"),
        (["NEXT_PUBLIC_USE_CONVEX_REALTIME=True"], "flag-value"),
        (["NEXT_PUBLIC_USE_CONVEX_REALTIME=1"], "flag-value"),
        ([ON, "KIT_MIGRATION_OPTION=3"], "flag-value"),
        ([ON], None),
    ],
)
def test_what_is_wrong_with_the_flag(
    tmp_path: Path, lines: list[str], code: str | None
) -> None:
    flag, _ = read_settings(case(env_file=env_file(tmp_path, URL, *lines))).findings
    assert fault(flag) == code
    assert flag.place.endswith(".env.local")


def test_a_file_that_is_not_there_or_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing, _ = read_settings(case(env_file=tmp_path / "none")).findings
    assert (missing.fault, missing.place) == ("file-missing", str(tmp_path / "none"))
    folder, _ = read_settings(case(env_file=tmp_path)).findings
    assert folder.fault == "file-unreadable"
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    assert read_settings(case(env_file=binary)).findings[0].fault == "file-unreadable"
    monkeypatch.chdir(tmp_path)
    nothing, _ = read_settings(case()).findings
    assert nothing.fault == "file-missing"
    assert str(tmp_path) in nothing.seen
    # Whoever asks about a deployment may well have no file here.
    other, _ = read_settings(case(deployment_url="http://127.0.0.1:1")).findings
    assert other.state == "skipped"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:3210", None),
        ("https://happy-animal-123.convex.cloud/", None),
        (" https://convex.example.com ", None),
        ("https://your-deployment.convex.cloud", "url-placeholder"),
        ("happy-animal-123", "url-malformed"),
        ("happy-animal-123.convex.cloud", "url-malformed"),
        ("127.0.0.1:3210", "url-malformed"),
        ("ws://127.0.0.1:3210", "url-malformed"),
        ("http://", "url-malformed"),
        ("http://localhost:port", "url-malformed"),
        ("http://[::1", "url-malformed"),
        (f"prod:happy-animal-123|{SECRET}", "url-key"),
        (f"happy-animal-123|{SECRET}", "url-key"),
        ("https://dashboard.convex.dev/t/team/chat/happy-animal-123", "url-dashboard"),
        ("https://happy-animal-123.convex.site", "url-site"),
        ("https://happy-animal-123.convex.site/hook", "url-site"),
        ("http://127.0.0.1:3210/api", "url-path"),
        ("http://127.0.0.1:3210?x=1", "url-path"),
        ("http://happy-animal-123.convex.cloud", "url-not-https"),
    ],
)
def test_what_is_wrong_with_a_url(tmp_path: Path, url: str, code: str | None) -> None:
    assert url_fault(url) == code
    file = env_file(tmp_path, ON, f"{CONVEX_URL}={url}")
    settings = read_settings(case(env_file=file))
    assert fault(settings.findings[1]) == code
    assert (settings.url is None) == (code is not None)
    given = read_settings(case(deployment_url=url))
    assert fault(given.findings[1]) == code


def test_neither_a_key_nor_a_password_is_shown(tmp_path: Path) -> None:
    for url in (
        f"prod:happy-animal-123|{SECRET}",
        f"http://user:{SECRET}@convex.example.com/path",
        f"http://convex.example.com?adminKey={SECRET}",
    ):
        file = env_file(tmp_path, ON, f"{CONVEX_URL}={url}")
        settings = read_settings(case(env_file=file))
        assert SECRET not in repr(settings)
        other = case(env_file=file, deployment_url="http://127.0.0.1:1")
        assert SECRET not in repr(read_settings(other))


def test_a_url_is_needed_once_the_flag_is_on(tmp_path: Path) -> None:
    on = read_settings(case(env_file=env_file(tmp_path, ON))).findings[1]
    assert on.fault == "url-missing"
    misspelt = f"CONVEX_URL={SECRET}"
    alike = read_settings(case(env_file=env_file(tmp_path, ON, misspelt))).findings[1]
    assert alike.fault == "url-missing"
    assert "but CONVEX_URL" in alike.seen
    off = read_settings(case(env_file=env_file(tmp_path))).findings[1]
    assert off.state == "skipped"


def test_another_url_than_the_files_is_told(tmp_path: Path) -> None:
    file = env_file(tmp_path, ON, URL)
    same = case(env_file=file, deployment_url="http://127.0.0.1:3210/")
    assert read_settings(same).findings[1].state == "ok"
    other = read_settings(case(env_file=file, deployment_url="http://127.0.0.1:3211"))
    assert other.findings[1].fault == "url-differs"
    assert (other.url, other.written) == (
        "http://127.0.0.1:3211",
        "http://127.0.0.1:3210",
    )


@pytest.mark.parametrize(
    "line",
    [
        "NEXT_PUBLIC_USE_CONVEX_REALTIME=True",
        "NEXT_PUBLIC_USE_CONVEX_REALTIME=true",
        "NEXT_PUBLIC_USE_CONVEX_REALTIME=true\nNEXT_PUBLIC_CONVEX_URL=nonsense",
        "NEXT_PUBLIC_USE_CONVEX_REALTIME=true\nKIT_MIGRATION_OPTION=x",
    ],
)
def test_what_the_application_refuses_is_a_problem_here(
    tmp_path: Path, line: str
) -> None:
    file = env_file(tmp_path, line)
    with pytest.raises(ConfigError):
        Flags.read(file)
    findings = read_settings(case(env_file=file)).findings
    assert any(finding.state == "problem" for finding in findings)
