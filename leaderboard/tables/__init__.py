"""Boards, and the tables that pages and commands show."""
