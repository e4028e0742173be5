"""The gaps of any model whose log p(x, z) can be written in JAX."""

from vaelab.audit.auditing import Report, audit
from vaelab.audit.given import AuditError

__all__ = ["AuditError", "Report", "audit"]
