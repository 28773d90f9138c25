"""The REST API: one table of routes, the models they speak, and what is served from both."""
