"""The controller: REST API, lab lifecycle, runs of experiments and the command line."""

VERSION = "0.1.0"
