"""What Terraform says and how to speak to it. Pure: nothing here starts a process.

The door is empty: a command that orders a run comes through it for a single function, and its run waits meanwhile.
"""
