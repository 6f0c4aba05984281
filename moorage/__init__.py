"""The one name that moorage owns in site-packages; the program itself lies beside it (docs/decisions/0001)."""
