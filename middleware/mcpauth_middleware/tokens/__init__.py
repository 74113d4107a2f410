"""Access tokens: strict verification of JWTs (RFC 9068) with the keys of the issuer (RFC 8414, RFC 7517)."""
