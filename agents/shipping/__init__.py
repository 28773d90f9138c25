"""libshipping: Container Shipping in user space, the I/O systems beside it, and the workloads."""
