"""The gaps of any model whose log p(x, z) can be written in JAX."""

from vaelab.audit.auditing import audit, check
from vaelab.audit.checked import Check, Checked, NotChecked
from vaelab.audit.given import AuditError
from vaelab.audit.numpyro_model import from_numpyro
from vaelab.audit.results import Report

__all__ = ["AuditError", "Check", "Checked", "NotChecked", "Report", "audit", "check", "from_numpyro"]
