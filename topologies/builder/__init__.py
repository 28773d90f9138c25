"""The builder: makes a topology real with namespaces, netlink and control groups, and removes it again."""

from topologies.builder.deploy import deploy, destroy
from topologies.builder.errors import (
    DeployError,
    DestroyError,
    FaultError,
    LabBusy,
    LabError,
    LabExists,
    NoSuchLab,
)
from topologies.record import Record, RecordError, read_record

__all__ = [
    "DeployError",
    "DestroyError",
    "FaultError",
    "LabBusy",
    "LabError",
    "LabExists",
    "NoSuchLab",
    "Record",
    "RecordError",
    "deploy",
    "destroy",
    "read_record",
]
