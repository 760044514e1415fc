"""Sources that are not on this machine: looked at, listed, and copied once to bounded scratch."""
