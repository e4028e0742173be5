"""vaelab: train variational autoencoders and measure, with error bars, what their inference loses."""

from vaelab.audit import Report, audit
from vaelab.given import AuditError

__version__ = "0.1.0"

__all__ = ["AuditError", "Report", "audit"]
