"""Taggers, one file each, and the steps that turn raw tags into final ones, one file each."""
