"""What runs on machines and hosts: machine agent, host agents, workloads, I/O systems."""
