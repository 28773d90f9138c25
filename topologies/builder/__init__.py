"""The builder: makes a topology real with namespaces, netlink and control groups, and removes it again."""

from topologies.builder.apply import apply
from topologies.builder.deploy import deploy, destroy
from topologies.builder.errors import (
    DeployError,
    DestroyError,
    FaultError,
    LabBusy,
    LabError,
    LabExists,
    NoSuchLab,
    PartlyChanged,
    Unsupported,
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
    "PartlyChanged",
    "Record",
    "RecordError",
    "Unsupported",
    "apply",
    "deploy",
    "destroy",
    "read_record",
]
