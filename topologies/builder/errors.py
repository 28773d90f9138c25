"""What can go wrong when a lab is made, changed or removed."""

from __future__ import annotations


class LabError(RuntimeError):
    """The base of every error of the builder."""


class DeployError(LabError):
    """A lab could not be made; nothing of it is left behind."""


class DestroyError(LabError):
    """Part of a lab could not be removed; its record stays, so that destroying can be tried again."""


class LabExists(LabError):
    """The name is taken: by the same lab with another topology, or by something that is not this lab's."""


class LabBusy(LabError):
    """Somebody else is deploying, changing or destroying the lab right now."""


class NoSuchLab(LabError):
    """There is no such lab, or no such network or station in it."""


class PartlyChanged(LabError):
    """A lab is neither what it was nor what it was to become; its record names all of it, to be destroyed."""


class FaultError(LabError):
    """A planted fault that cannot be expressed or was refused by the kernel."""


class Unsupported(LabError):
    """This kernel cannot do what is asked for; `field` is what asks for it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
