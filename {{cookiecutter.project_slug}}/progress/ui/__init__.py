"""What a page draws. No I/O here."""
