"""A stand-in for the `mypurecloud/genesyscloud` Terraform provider, run by the real Terraform.

It behaves towards HTTP as the real one does (docs/facts/genesys.md#genesys-24): 16 s for an attempt, 21 attempts,
Retry-After obeyed, a connection for every request, a pool of tokens minted at configure. It talks only to a gateway or
a simulated organisation that its configuration names, never to the vendor.
"""
