from testbedlib import network


def test_a_slow_cable_is_bounded_at_both_ends() -> None:
    (sent_to_it,) = network.slow_argvs("ggt-x", "node2", 4000)
    rate = "root tbf rate 4000kbit burst 16k latency 300ms"
    assert " ".join(sent_to_it) == ("ip netns exec ggt-x tc qdisc replace dev vnode2 %s" % rate)
    assert " ".join(network.shape_argv("eth0", 4000)) == "tc qdisc replace dev eth0 %s" % rate
    assert network.quicken_argvs("ggt-x", "node2") == [
        ["ip", "netns", "exec", "ggt-x", "tc", "qdisc", "del", "dev", "vnode2", "root"]
    ]
