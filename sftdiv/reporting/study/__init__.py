"""The report of a study: page, tables, figures and terminal output."""
