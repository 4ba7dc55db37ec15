"""What people read: near names in errors, tables in the terminal."""
