"""TLS: whose certificates a connector trusts, and which certificate it shows."""

import ssl

from streamlstm.errors import ParameterError
from streamlstm.live import Address


def tls_context(
    address: Address, is_secure: bool, ca: str, cert: str = "", key: str = ""
) -> ssl.SSLContext | None:
    """Return the settings of a connection with TLS, or None for one without.

    ca: file of the authority to trust; by default those of the system. cert, key: files of our
    own certificate and its key.

    Raises ParameterError if a file cannot be used, or is given for a connection without TLS.
    """
    for name, file in {"ca": ca, "cert": cert, "key": key}.items():
        if file and not is_secure:
            raise ParameterError(f"{address}: {name} needs TLS: write {address.scheme}s://")
    if bool(cert) != bool(key):
        raise ParameterError(f"{address}: give both cert and key, or neither")
    if not is_secure:
        return None
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if cert:
            context.load_cert_chain(cert, key)
    except OSError as error:
        files = ", ".join(file for file in (ca, cert, key) if file)
        raise ParameterError(f"{address}: cannot use the certificates {files}: {error}") from error
    return context
