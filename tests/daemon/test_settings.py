"""Settings mean what they say, and what they cannot mean is refused by name."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SettingsError
from core.limits import GIB, MIB
from core.ports import Address
from daemon.settings import (
    DhtSettings,
    LogSettings,
    NetworkSettings,
    RepairSettings,
    Settings,
    StoreSettings,
    SweepSettings,
    Window,
    format_settings,
    parse_settings,
)

addresses = st.builds(Address, st.sampled_from(["127.0.0.1", "::1", "pacs.hospital.example"]), st.integers(1, 65535))
minutes = st.integers(0, 1439)
windows = st.builds(Window, minutes, minutes).filter(lambda window: window.start_minute != window.end_minute)
paces = st.floats(0, 1000, allow_subnormal=False)
settings = st.builds(
    Settings,
    network=st.builds(
        NetworkSettings,
        listen=addresses,
        advertise=st.none() | addresses,
        seeds=st.lists(addresses, max_size=3).map(tuple),
    ),
    store=st.builds(
        StoreSettings, quota_bytes=st.none() | st.integers(MIB, 2**50), reserve_bytes=st.integers(0, 2**50)
    ),
    sweep=st.builds(
        SweepSettings,
        period_days=st.floats(0.001, 3000),
        window=st.none() | windows,
        pace_mib_s=paces,
        samples=st.integers(1, 256),
    ),
    repair=st.builds(RepairSettings, grace_hours=st.floats(0, 1000, allow_subnormal=False), bandwidth_mib_s=paces),
    log=st.builds(
        LogSettings,
        level=st.sampled_from(["debug", "info", "warning", "error"]),
        format=st.sampled_from(["text", "json"]),
    ),
    dht=st.builds(
        DhtSettings,
        announce_minutes=st.floats(0.01, 1440),
        refresh_minutes=st.floats(0.01, 1440),
        peers_max=st.integers(2, 100_000),
    ),
)


@given(settings)
def test_settings_survive_being_written_and_read(given_settings: Settings) -> None:
    assert parse_settings(format_settings(given_settings)) == given_settings


def test_an_empty_file_listens_on_loopback_only_and_looks_at_every_byte_weekly() -> None:
    found = parse_settings("")
    assert found == Settings()
    assert found.network.listen == Address("127.0.0.1", 0)
    assert found.sweep.period_s == 7 * 86_400
    assert found.repair.grace_s == 86_400
    assert found.store.quota_bytes is None


def test_amounts_are_read_with_their_units() -> None:
    found = parse_settings('[store]\nquota = "1.5 TiB"\nreserve = "20GB"\n').store
    assert found == StoreSettings(quota_bytes=1536 * GIB, reserve_bytes=20 * 10**9)


def test_a_window_may_pass_midnight() -> None:
    window = parse_settings('[sweep]\nwindow = "20:00-06:00"\n').sweep.window
    assert window is not None
    assert [window.contains(hour * 60) for hour in (19, 20, 23, 0, 5, 6, 12)] == [
        False, True, True, True, True, False, False,
    ]  # fmt: skip
    assert [Window(60, 120).contains(minute) for minute in (59, 60, 119, 120)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sweep]\nperod_days = 7\n", ["settings.toml", "[sweep] perod_days", "did you mean period_days?"]),
        ("[store]\nqouta = '1 TiB'\n", ["[store] qouta", "did you mean quota?"]),
        ("[stroe]\n", ["[stroe]", "did you mean [store]?"]),
        ("[sweep]\nzzz = 1\n", ["zzz", "there are: period_days, window, pace_mib_s, samples"]),
        ("store = 3\n", ["store must be a table"]),
        ("[store\n", ["not TOML", "line 1"]),
        ("[store]\nquota = 500\n", ["[store] quota = 500", 'such as "500 GiB"']),
        ("[store]\nquota = '500 gib'\n", ["quota", "amount with a unit"]),
        ("[store]\nquota = '1 KiB'\n", ["quota", "is not from 1048576 B"]),
        ("[store]\nreserve = '99999999 PiB'\n", ["reserve", "1024 PiB"]),
        ("[sweep]\nperiod_days = 0\n", ["period_days = 0 is not a number from 0.0001"]),
        ("[sweep]\nperiod_days = '7'\n", ["period_days = '7'"]),
        ("[sweep]\nperiod_days = true\n", ["period_days = True"]),
        ("[sweep]\nperiod_days = nan\n", ["period_days = nan"]),
        ("[sweep]\nsamples = 2.5\n", ["samples = 2.5 is not a whole number from 1 to 256"]),
        ("[sweep]\nwindow = '20-6'\n", ["window", "20:00-06:00"]),
        ("[sweep]\nwindow = '06:00-06:00'\n", ["window", "begins when it ends"]),
        ("[sweep]\nwindow = '24:00-06:00'\n", ["window", "20:00-06:00"]),
        ("[sweep]\nwindow = 3\n", ["window = 3 is not a text"]),
        ("[log]\nlevel = 'loud'\n", ["level = 'loud' is not one of debug, info, warning, error"]),
        ("[network]\nlisten = '127.0.0.1'\n", ["listen", "HOST:PORT"]),
        ("[network]\nlisten = '::1:70'\n", ["listen", "[::1]:7711"]),
        ("[network]\nlisten = 'host:70000'\n", ["listen"]),
        ("[network]\nadvertise = 'host:0'\n", ["advertise"]),
        ("[network]\nlisten = '0.0.0.0:7711'\n", ["[network] listen", "every address", "set [network] advertise"]),
        ("[network]\nlisten = '[::]:0'\n", ["[network] listen", "set [network] advertise", "example:7711"]),
        ("[network]\nseeds = 'host:1'\n", ["seeds is not a list"]),
        ("[network]\nseeds = [7]\n", ["seeds = 7 is not HOST:PORT"]),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(text: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings(text)
    assert [word for word in words if word not in str(refused.value)] == [], str(refused.value)


@given(st.text(max_size=60) | st.sampled_from([line + "\n" for line in format_settings(Settings()).splitlines()]))
def test_any_text_is_settings_or_a_settings_error(text: str) -> None:
    try:
        parse_settings(text)
    except SettingsError:
        return
    tomllib.loads(text)
