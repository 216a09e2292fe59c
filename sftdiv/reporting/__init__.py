"""Reports for people: HTML pages, tables, figures and terminal output, from numbers that other layers computed."""
