"""The proof in a real browser: that is where the timers live."""
