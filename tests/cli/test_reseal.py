"""`wgfleet panel reseal` as a person runs it: whole, killed halfway, beside panels, and with a key too few."""

import base64
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests import programs
from tests.cli.test_panel_processes import Running, running
from tests.waiting import eventually
from wgfleet.panel.parts import prepare
from wgfleet.panel.services import configs
from wgfleet.panel.services.configs import ConfigSpec
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.services.fleet.peers import PeerSpec
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store, sealed
from wgfleet.panel.vault import Vault, key_id

pytestmark = pytest.mark.slow

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
PEERS = 600  # more than a batch of each column


def write_keys(data_dir: Path, *keys: bytes) -> None:
    data_dir.mkdir(mode=0o700, exist_ok=True)
    file = data_dir / "master.key"
    file.write_text("".join(base64.b64encode(key).decode() + "\n" for key in keys))
    file.chmod(0o600)


def reseal(data_dir: Path, url: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, **environment, **({"WGFLEET_DATABASE_URL": url} if url else {})}
    return programs.run("panel", "reseal", "--data-dir", str(data_dir), environment=given)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The data of a panel with many secrets, sealed by the old key; the new one is before it in the file."""
    directory = tmp_path / "data"
    write_keys(directory, OLD)
    parts, first_key = prepare(Settings(data_dir=directory))
    drafts = peers.draft(parts.vault, [PeerSpec(f"p{number}") for number in range(PEERS)])
    with parts.store.write() as tx:
        config = configs.create(tx, parts.vault, "test", ConfigSpec("wg0", "cluster", ["10.0.0.0/16"]))
        peers.create(tx, "test", config, drafts)
    parts.store.close()
    (directory / "first-admin-key").write_text(str(first_key))
    write_keys(directory, NEW, OLD)
    return directory


def opened_by(directory: Path, key: bytes) -> tuple[int, int]:
    """Return how many secrets there are, and how many of them a key opens."""
    vault = Vault([key])
    store = Store(f"sqlite:///{directory}/panel.sqlite")
    with store.read() as tx:
        found = list(sealed.secrets(tx))
    store.close()
    readable = [secret for secret in found if secret.value[1:5] == key_id(key)]
    assert all(vault.open(secret.value, secret.context) for secret in readable)
    return len(found), len(readable)


def test_all_secrets_come_under_the_new_key_and_the_panel_goes_on_without_the_old_one(data_dir: Path) -> None:
    done = reseal(data_dir)
    assert done.returncode == 0, done.stderr + done.stdout
    values, readable = opened_by(data_dir, NEW)
    assert values == readable > 2 * PEERS
    assert f"{values} of {values} values are left" in done.stdout
    assert f"\nall {values} values are sealed by master key {key_id(NEW).hex()}\n" in done.stdout
    assert f"take {key_id(OLD).hex()} out of {data_dir}/master.key" in done.stdout
    write_keys(data_dir, NEW)
    with running(data_dir) as panel:
        panel.until("CA fingerprint")
        eventually(panel.ready)
        assert len(panel.call("GET", "/api/configs/wg0/peers?limit=1000")["items"]) == PEERS
        [entry] = panel.call("GET", "/api/audit-logs?action=resealed")["items"]
        assert entry["details"] == {"key": key_id(NEW).hex(), "values": values, "left": 0}
    assert f"{values} values are sealed by master key" in reseal(data_dir).stdout, (
        "a second time there is nothing to do"
    )


def test_killed_halfway_it_goes_on_with_what_is_left(data_dir: Path) -> None:
    killed = reseal(data_dir, WGFLEET_DIE_AT="reseal.batch")
    assert killed.returncode == -signal.SIGKILL
    values, readable = opened_by(data_dir, NEW)
    assert 0 < readable < values
    for _ in range(2):
        assert reseal(data_dir, WGFLEET_DIE_AT="reseal.batch").returncode == -signal.SIGKILL
    assert readable < opened_by(data_dir, NEW)[1] < values
    assert reseal(data_dir).returncode == 0
    assert opened_by(data_dir, NEW) == (values, values)


def test_a_panel_that_runs_with_the_old_key_is_named_and_one_with_the_new_key_goes_on(data_dir: Path) -> None:
    write_keys(data_dir, OLD)
    with running(data_dir) as panel:
        panel.until("CA fingerprint")
        eventually(panel.ready)
        write_keys(data_dir, NEW, OLD)
        refused = reseal(data_dir)
        assert refused.returncode == 1
        assert f"seals by another master key than {key_id(NEW).hex()}" in refused.stderr
        assert f":{panel.process.pid})" in refused.stderr
        assert opened_by(data_dir, NEW)[1] == 0
    with running(data_dir) as panel:
        panel.until("CA fingerprint")
        eventually(panel.ready)
        done = reseal(data_dir)
        assert done.returncode == 0, done.stderr + done.stdout
        panel.call("POST", "/api/configs/wg0/peers", {"name": "meanwhile"})
        values, readable = opened_by(data_dir, NEW)
        assert values == readable


def test_a_standby_that_would_seal_by_the_old_key_is_named_too(tmp_path: Path, postgresql_url: str) -> None:
    write_keys(tmp_path / "one", NEW, OLD)
    write_keys(tmp_path / "two", OLD, NEW)

    def ready(panel: Running) -> None:
        panel.until("CA fingerprint")
        eventually(panel.ready)

    with running(tmp_path / "one", url=postgresql_url) as first:
        ready(first)
        with running(tmp_path / "two", url=postgresql_url) as second:
            ready(second)
            refused = reseal(tmp_path / "one", postgresql_url)
            assert refused.returncode == 1
            assert f":{second.process.pid})" in refused.stderr
            assert f":{first.process.pid}" not in refused.stderr
        assert eventually(lambda: reseal(tmp_path / "one", postgresql_url).returncode == 0)


def test_a_key_that_was_taken_away_too_early_is_named_and_nothing_is_lost(data_dir: Path) -> None:
    assert reseal(data_dir, WGFLEET_DIE_AT="reseal.batch").returncode == -signal.SIGKILL
    write_keys(data_dir, NEW)
    done = reseal(data_dir)
    assert done.returncode == 1
    assert f"were sealed by master key {key_id(OLD).hex()}, which is not in {data_dir}/master.key" in done.stdout
    with running(data_dir) as panel:
        assert f'"key": "{key_id(OLD).hex()}"' in panel.until("secrets.key_missing")
    shutil.copy(data_dir / "master.key", data_dir / "new.key")
    write_keys(data_dir, NEW, OLD)
    assert reseal(data_dir).returncode == 0
    values, readable = opened_by(data_dir, NEW)
    assert values == readable
