"""The command line: `./transship VERB`, a client of the REST API."""
