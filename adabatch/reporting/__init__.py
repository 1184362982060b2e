"""What people see of a run: metrics files, the console, figures."""
