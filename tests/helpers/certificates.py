"""Certificates for test servers."""

from typing import NamedTuple

import trustme


class Certificates(NamedTuple):
    """Paths of an authority, and of a certificate for 127.0.0.1 with its key."""

    authority: str
    certificate: str
    key: str


def certificates(folder):
    """Make certificates; who trusts the authority trusts a server with the other two."""
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1", "localhost", common_name="127.0.0.1")
    paths = Certificates(*(str(folder / f"{name}.pem") for name in Certificates._fields))
    authority.cert_pem.write_to_path(paths.authority)
    made.cert_chain_pems[0].write_to_path(paths.certificate)
    made.private_key_pem.write_to_path(paths.key)
    return paths
