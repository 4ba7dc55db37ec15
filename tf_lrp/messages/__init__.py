"""What people read: checks of arguments, suggestions of names, text and tables in a terminal."""
