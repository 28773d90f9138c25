"""What Prometheus and Grafana are configured with, and the Python that writes Grafana's dashboards."""
