"""The TFE API, as far as `cloud {}` and `backend "remote"` need it for runs that are local, and `terraform login`.

`table.py` lists what is answered; `names.py` says which state a workspace is; `locking.py` and `versions.py` do what
differs from Terraform's own protocol; `serving.py` joins them.
"""
