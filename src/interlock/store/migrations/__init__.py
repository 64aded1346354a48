"""Numbered steps of the stored schemas, as SQL files: `<store>_<number>.sql`, applied once each, in order."""
