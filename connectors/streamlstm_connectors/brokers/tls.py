"""What a connector trusts, and what it shows of itself."""

import ssl

from streamlstm.errors import ParameterError
from streamlstm.live import Address


def tls_context(
    address: Address, is_secure: bool, ca: str, cert: str = "", key: str = ""
) -> ssl.SSLContext | None:
    """What a connection with TLS is made with; None for one without.

    ca: file of the authority to trust, by default those of the system. cert, key: files of a
    certificate of our own and its key.

    Raises ParameterError if a file is not what it should be, or there is no use for it.
    """
    for name, file in {"ca": ca, "cert": cert, "key": key}.items():
        if file and not is_secure:
            raise ParameterError(f"{address}: {name} is for {address.scheme}s://")
    if bool(cert) != bool(key):
        raise ParameterError(f"{address}: cert and key go together")
    if not is_secure:
        return None
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if cert:
            context.load_cert_chain(cert, key)
    except OSError as error:
        raise ParameterError(f"{address}: ca, cert or key: {error}") from error
    return context
