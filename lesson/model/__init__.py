"""Base models: their shapes and files, and the stand-ins that replace them where none can be had."""
