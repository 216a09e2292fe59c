"""Commands of ``sftdiv`` without a module at the top."""
