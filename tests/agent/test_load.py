"""Load: figures from what the kernel counts."""

from wgfleet.agent.kernel.load import Counters, between, parse_stat, parse_traffic, uplink

ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth1\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t00000000\t010200C0\t0003\t0\t0\t50\t00000000\t0\t0\t0
eth2\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
ROUTES6 = """fe800000000000000000000000000000 40 00000000000000000000000000000000 00 0 100 1 0 1 eth9
00000000000000000000000000000000 00 00000000000000000000000000000000 00 0 00000400 00000001 00000000 00000003 eth5
00000000000000000000000000000000 00 00000000000000000000000000000000 00 0 ffffffff 00000001 00000000 00200200 lo
"""
TRAFFIC = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls
    lo:   11       1    0    0    0     0          0         0       12       1    0    0    0     0       0          0
  eth0: 1000       2    0    0    0     0          0         0     2000       3    0    0    0     0       0          0
"""


def test_the_uplink_is_that_of_the_default_route_with_the_least_metric() -> None:
    assert uplink(ROUTES, ROUTES6) == "eth0"
    assert uplink("", ROUTES6) == "eth5"
    assert uplink("", "") is None


def test_traffic_and_time_are_read() -> None:
    assert parse_traffic(TRAFFIC, "eth0") == (1000, 2000)
    assert parse_traffic(TRAFFIC, None) == (0, 0)
    assert parse_stat("cpu  10 1 20 60 5 1 2 1 9 0\ncpu0 0 0 0\n") == (100, 65)


def test_shares_are_of_what_passed_between_two_readings() -> None:
    before = Counters(at=0.0, total=100, idle=50, link="eth0", received=0, sent=1000)
    after = Counters(at=10.0, total=200, idle=125, link="eth0", received=1_250_000, sent=1500)
    load = between(before, after, 0.25, 10e6)
    assert (load.cpu, load.memory, load.bandwidth, load.bandwidth_bps) == (0.25, 0.25, 0.1, 1e6)
    assert between(before, after, 0.25, None).bandwidth is None


def test_another_uplinks_counters_say_nothing() -> None:
    before = Counters(at=0.0, total=0, idle=0, link="eth0", received=0, sent=0)
    after = Counters(at=10.0, total=0, idle=0, link="eth1", received=10**9, sent=0)
    load = between(before, after, 0.0, 1e9)
    assert (load.cpu, load.bandwidth_bps) == (0.0, 0.0)
