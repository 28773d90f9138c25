"""A lab as it is now, sample by sample: docs/rest.md#the-live-feed."""

from orchestrator.live.feed import Ended, Live

__all__ = ["Ended", "Live"]
