"""Trees of configuration files, and the disk that holds one."""
