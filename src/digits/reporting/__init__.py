"""Pictures and tables for people: matplotlib."""
