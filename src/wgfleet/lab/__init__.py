"""The lab: a network of namespaces with real WireGuard nodes and stock clients on one Linux machine.

Owns everything that demonstration, tests and benchmarks need of a network. It speaks to panel and agent only as a
person would (the `wgfleet` program and the HTTP API), and imports neither of them.
"""
